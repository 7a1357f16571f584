"""The checkpoints of a run. Their names contain the step: ckpt-STEP.index and ckpt-STEP.data-*.

TensorFlow finds checkpoints through a small text file, `checkpoint`. We rewrite that file from the checkpoints in the
folder, so a run continues even if it is damaged.
"""

from __future__ import annotations

import contextlib
import pathlib
import re
import shutil
from collections.abc import Iterable

from pixelvae_tf import files

STATE = "checkpoint"
_FILE = re.compile(r"ckpt-(\d+)\.(index|data-\d{5}-of-\d{5})")
# Files that TensorFlow leaves behind if it is killed during a save.
_LEFTOVER = re.compile(r"ckpt-\d+_temp|ckpt-\d+\.[\w.-]*tempstate\w+|checkpoint\.tmp\w+")


def steps(folder: pathlib.Path) -> list[int]:
    """Returns the steps of all checkpoints, newest first, including incomplete ones."""
    names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
    return sorted({int(found[1]) for name in names if (found := _FILE.fullmatch(name))}, reverse=True)


def prefix(folder: pathlib.Path, step: int) -> pathlib.Path:
    """Returns the path by which TensorFlow names a checkpoint."""
    return folder / f"ckpt-{step}"


def members(folder: pathlib.Path, step: int) -> list[pathlib.Path]:
    """Returns the files of a checkpoint."""
    return sorted(path for path in folder.glob(f"ckpt-{step}.*") if _FILE.fullmatch(path.name))


def write_state(folder: pathlib.Path, latest_last: Iterable[int]) -> None:
    """Writes the list of checkpoints for TensorFlow. Its checkpoint manager deletes them in this order."""
    names = [f"ckpt-{step}" for step in latest_last]
    lines = [f'model_checkpoint_path: "{names[-1]}"', *(f'all_model_checkpoint_paths: "{name}"' for name in names)]
    # A manager would keep checkpoints without a timestamp forever.
    lines += ["all_model_checkpoint_timestamps: 1.0" for _ in names]
    with files.replacing(folder / STATE) as temporary:
        temporary.write_text("\n".join(lines) + "\n")


def damage(path: pathlib.Path) -> str | None:
    """Reads a whole checkpoint and its checksums. Returns why that fails, or None if the checkpoint is intact."""
    import tensorflow as tf

    try:
        reader = tf.train.load_checkpoint(str(path))
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (tf.errors.OpError, RuntimeError, IndexError, ValueError) as error:
        return reason(error)
    return None


def reason(error: Exception) -> str:
    """Shortens TensorFlow's error about a damaged checkpoint to one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def remove_leftovers(folder: pathlib.Path) -> None:
    """Removes files that a killed save left behind."""
    if not folder.is_dir():
        return
    files.remove_leftovers(folder)
    for path in list(folder.iterdir()):
        if _LEFTOVER.fullmatch(path.name):
            with contextlib.suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
