"""Where a record was made: versions, revision of the code, hardware."""

from __future__ import annotations

import functools
import os
import pathlib
import platform
import re
import subprocess

# Those that matter to matrix products, the slower first.
_TOLD_FEATURES = ("avx512f", "avx512_bf16", "amx_bf16")


def environment() -> dict:
    """What a record says about where it was made: versions, revision of the code, hardware."""
    import keras
    import tensorflow as tf

    from pixelvae_tf import __version__

    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]
    return {
        "pixelvae_tf": __version__,
        "revision": _revision(),
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "hardware": ", ".join(names) if names else processor(),
    }


def processor() -> str:
    """Name, cores and features of the processor that decide how fast it multiplies matrices."""
    names = re.findall(r"^model name\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    name = names[0].strip() if names else platform.processor() or platform.machine() or "unknown processor"
    features = [feature.upper().replace("_", "-") for feature in _TOLD_FEATURES if feature in processor_features()]
    return f"{name}, {os.cpu_count()} CPU cores" + (f" with {', '.join(features)}" if features else "")


def processor_features() -> set[str]:
    """The features of the processor by Linux's names, such as "avx512_bf16"; none where the system does not tell."""
    return set(" ".join(re.findall(r"^(?:flags|Features)\s*:(.*)$", _cpuinfo(), re.MULTILINE)).split())


@functools.cache
def _cpuinfo() -> str:
    try:
        return pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def _revision() -> str | None:
    """The commit of the code, or None outside a checkout."""
    folder = pathlib.Path(__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
