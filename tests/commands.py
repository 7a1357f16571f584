"""Runs the command lines as a user does, in processes of their own."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent

# A model that trains in seconds, on the data inside the package.
TINY = [
    "--dataset=digits", "--latent_channels=2", "--encoder_channels=4", "--pixelcnn_layers=1", "--pixelcnn_channels=4",
    "--first_kernel_size=3", "--output_layers=0", "--batch_size=32", "--validation_examples=20", "--images_every=0",
    "--kl_warmup_steps=5",
]  # fmt: skip


def arguments(command: str, *flags: str) -> list[str]:
    """The command line of one of the package's commands."""
    return [sys.executable, "-m", f"pixelvae_tf.{command}", *flags]


def environment(**extra: str) -> dict[str, str]:
    """What a command runs in: the package of this checkout, no GPU."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1", **extra}


def run(command: str, *flags: str, cwd=None, **extra: str) -> subprocess.CompletedProcess:
    """Runs a command to its end."""
    return subprocess.run(
        arguments(command, *flags), capture_output=True, text=True, cwd=cwd, env=environment(**extra), timeout=300
    )


def tool(name: str, *arguments: str) -> subprocess.CompletedProcess:
    """Runs one of the tools to its end."""
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / f"{name}.py"), *arguments],
        capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=300,
    )  # fmt: skip


def error_line(result: subprocess.CompletedProcess) -> str:
    """The one line that a failed command wrote, after checking that it is one, and not a traceback."""
    assert result.returncode != 0
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    return lines[0]
