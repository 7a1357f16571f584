"""Runs the command lines in processes of their own.

Most of a short command's time is the import of TensorFlow. So these processes are forked from one that has imported
it and nothing else: `run` and `tool` take the exit code and both outputs of a program that starts as `__main__`, but
not how its interpreter starts and ends. That is for `run_anew`, which takes seconds longer where TensorFlow is needed:
for one training, as all commands start alike.
Forked processes compile graphs, or not, as the test that starts them (`modes.py`); new ones always do.
"""

import multiprocessing
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile

import modes

ROOT = pathlib.Path(__file__).parent.parent

# A model that trains in seconds, on the data inside the package.
TINY = [line for line in (ROOT / "tools/faults/tiny.cfg").read_text().splitlines() if line.startswith("--")]

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tensorflow"])


def arguments(command: str, *flags: str) -> list[str]:
    """The command line of one of the package's commands."""
    return [sys.executable, "-m", f"pixelvae_tf.{command}", *flags]


def environment(**extra: str) -> dict[str, str]:
    """What a command runs in: the package of this checkout, no GPU."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1", **extra}


def run_anew(command: str, *flags: str, cwd=None, **extra: str) -> subprocess.CompletedProcess:
    """Runs a command to its end, in a new interpreter as from a shell."""
    return subprocess.run(
        arguments(command, *flags), capture_output=True, text=True, cwd=cwd, env=environment(**extra), timeout=300
    )


def run(command: str, *flags: str, cwd=None, **extra: str) -> subprocess.CompletedProcess:
    """Runs a command to its end."""
    return Forked([f"pixelvae_tf.{command}", *flags], cwd or os.getcwd(), environment(**extra)).ended()


def tool(name: str, *arguments: str) -> subprocess.CompletedProcess:
    """Runs one of the tools to its end."""
    return start_script(ROOT / "tools" / f"{name}.py", *arguments).ended()


class Forked:
    """A command that runs: what `subprocess.Popen` is to a new interpreter."""

    def __init__(self, words: list[str], cwd, variables: dict[str, str]):
        self.args = words
        self._folder = tempfile.TemporaryDirectory()
        self._outputs = [pathlib.Path(self._folder.name, name) for name in ("stdout", "stderr")]
        for path in self._outputs:
            path.touch()
        mode = modes.in_production()
        self._process = _FORKS.Process(target=_become, args=(words, str(cwd), variables, self._outputs, mode))
        self._process.start()

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def ended(self, timeout: float = 600) -> subprocess.CompletedProcess:
        """Waits for its end, and ends it when that takes too long."""
        self._process.join(timeout)
        try:
            if self.poll() is None:
                raise subprocess.TimeoutExpired(self.args, timeout)
            return subprocess.CompletedProcess(self.args, self.poll(), *(path.read_text() for path in self._outputs))
        finally:
            self.kill()
            self._folder.cleanup()

    def kill(self) -> None:
        self._process.kill()


def start(command: str, *flags: str, **extra: str) -> Forked:
    """Starts a command."""
    return Forked([f"pixelvae_tf.{command}", *flags], os.getcwd(), environment(**extra))


def start_script(path: pathlib.Path, *arguments: str, **extra: str) -> Forked:
    """Starts a Python file."""
    return Forked([str(path), *arguments], ROOT, environment(**extra))


def _become(words: list[str], cwd: str, variables: dict[str, str], outputs: list[pathlib.Path], compiled: bool) -> None:
    """In the forked process: is the program from here on, a file or a module."""
    for number, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY), number)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(cwd)
    sys.argv, program = words, words[0]
    sys.path.insert(0, variables["PYTHONPATH"])
    with modes.as_in_production(compiled):
        if program.endswith(".py"):
            sys.path.insert(0, os.path.dirname(program))
            runpy.run_path(program, run_name="__main__")
        else:
            runpy.run_module(program, run_name="__main__", alter_sys=True)


def error_line(result: subprocess.CompletedProcess) -> str:
    """The one line that a failed command wrote, after checking that it is one, and not a traceback."""
    assert result.returncode != 0
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    return lines[0]
