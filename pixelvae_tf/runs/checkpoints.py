"""The checkpoints of a run, by the steps in their names: ckpt-STEP.index and ckpt-STEP.data-*.

TensorFlow finds them by a small text file, `checkpoint`. That file is written anew from the checkpoints that are
there, so that a run does not hang on it.
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
# What TensorFlow leaves when it is killed in the middle of a save.
_LEFTOVER = re.compile(r"ckpt-\d+_temp|ckpt-\d+\.[\w.-]*tempstate\w+|checkpoint\.tmp\w+")


def steps(folder: pathlib.Path) -> list[int]:
    """The steps of all checkpoints of which there is something, whole or not, the newest first."""
    names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
    return sorted({int(found[1]) for name in names if (found := _FILE.fullmatch(name))}, reverse=True)


def prefix(folder: pathlib.Path, step: int) -> pathlib.Path:
    """A checkpoint as TensorFlow names it."""
    return folder / f"ckpt-{step}"


def members(folder: pathlib.Path, step: int) -> list[pathlib.Path]:
    """The files of a checkpoint."""
    return sorted(path for path in folder.glob(f"ckpt-{step}.*") if _FILE.fullmatch(path.name))


def write_state(folder: pathlib.Path, latest_last: Iterable[int]) -> None:
    """Tells TensorFlow which checkpoints there are; a manager deletes the first of them first."""
    names = [f"ckpt-{step}" for step in latest_last]
    lines = [f'model_checkpoint_path: "{names[-1]}"', *(f'all_model_checkpoint_paths: "{name}"' for name in names)]
    # Those without a time a manager would keep for ever.
    lines += ["all_model_checkpoint_timestamps: 1.0" for _ in names]
    with files.replacing(folder / STATE) as temporary:
        temporary.write_text("\n".join(lines) + "\n")


def damage(path: pathlib.Path) -> str | None:
    """Why a checkpoint cannot be read, or None for one that is whole. Reads all of it, with its checksums."""
    import tensorflow as tf

    try:
        reader = tf.train.load_checkpoint(str(path))
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (tf.errors.OpError, RuntimeError, IndexError, ValueError) as error:
        return reason(error)
    return None


def reason(error: Exception) -> str:
    """What TensorFlow says of a damaged checkpoint, on one line and short."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def remove_leftovers(folder: pathlib.Path) -> None:
    """Removes what a save leaves that is killed."""
    if not folder.is_dir():
        return
    files.remove_leftovers(folder)
    for path in list(folder.iterdir()):
        if _LEFTOVER.fullmatch(path.name):
            with contextlib.suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
