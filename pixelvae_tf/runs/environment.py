"""The environment in which a record was made: versions, revision of the code, hardware, settings of XLA."""

from __future__ import annotations

import os
import pathlib
import platform
import subprocess

from pixelvae_tf import processor


def environment() -> dict:
    """Returns the versions, the revision of the code, the hardware and XLA's own settings if any, for a record."""
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
        "hardware": ", ".join(names) if names else processor.describe(),
        **({"xla_flags": settings} if (settings := _xla_flags()) else {}),
    }


def _xla_flags() -> str:
    """Returns the flags of XLA that the environment sets, without those that say where files of this machine lie."""
    return " ".join(flag for flag in os.environ.get("XLA_FLAGS", "").split() if "=/" not in flag)


def _revision() -> str | None:
    """Returns the commit of the code, or None outside a checkout."""
    folder = pathlib.Path(__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
