"""The state of a training in one small file, from which a run goes on elsewhere exactly as it would have here.

It holds the last checkpoint (weights, their average, the optimizer's moments, the step), the configuration, the
history, and the best weights so far; not the records of a finished run or TensorBoard's events.
"""

from __future__ import annotations

import json
import pathlib
import re
import tempfile
import zipfile
import zlib

from pixelvae_tf import files
from pixelvae_tf.files import FileError
from pixelvae_tf.runs import weight_files
from pixelvae_tf.runs.workdir import Run

_MEMBERS = re.compile(r"config\.json|history\.jsonl|best/(best\.json|[\w-]+\.weights\.h5)|checkpoints/ckpt-\d+\.[\w-]+")


def pack(workdir: str, archive: pathlib.Path) -> int:
    """Packs the state of a run, which may be in training.

    Args:
        workdir: of the run.
        archive: ZIP file to write, the same bytes for the same state.

    Returns:
        The step that the run will go on from.

    Raises:
        FileError: without a run, or before its first checkpoint.
    """
    import tensorflow as tf

    run = Run(workdir)
    config = run.config().portable()
    latest = tf.train.latest_checkpoint(str(run.checkpoints))
    if latest is None:
        raise FileError(f"--workdir={workdir}: has no checkpoint; train until step {config.training.checkpoint_every}")
    latest = pathlib.Path(latest)
    step = int(latest.name.rpartition("-")[2])
    members = {"config.json": _json(config.to_dict())}
    members |= {f"checkpoints/{path.name}": path.read_bytes() for path in run.checkpoints.glob(f"{latest.name}.*")}
    if run.history_file.exists():
        members["history.jsonl"] = run.history_file.read_bytes()
    if run.best() is not None:
        weights, best = run.best_weights()
        with tempfile.TemporaryDirectory() as folder:
            alone = pathlib.Path(folder) / weights.name
            weight_files.extract(weights, alone, config.model)
            members[f"best/{weights.name}"] = alone.read_bytes()
            members["best/best.json"] = _json({**best, "sha256": files.sha256(alone)})
    with files.replacing(archive) as temporary, zipfile.ZipFile(temporary, "w") as packed:
        for name, content in sorted(members.items()):
            # Without a time of its own, a member has one that is always the same.
            packed.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return step


def _json(value) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def unpack(archive: pathlib.Path, workdir: str) -> int:
    """Makes a work directory in which the same `train` command goes on.

    Args:
        archive: what `pack` wrote.
        workdir: folder to make; an empty one may be there.

    Returns:
        The step that the run will go on from.

    Raises:
        FileError: for another or a damaged file, or a folder that holds something.
    """
    run = Run(workdir)
    if run.workdir.exists() and (not run.workdir.is_dir() or any(run.workdir.iterdir())):
        raise FileError(f"--workdir={workdir}: is there and not empty; choose another folder")
    members = _read(archive)
    with files.replacing_folder(run.workdir) as folder:
        whole = Run(folder)
        for name, content in members.items():
            path = whole.workdir / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        (index,) = whole.checkpoints.glob("ckpt-*.index")
        # By which `tf.train.latest_checkpoint` and the manager find it.
        state = f'model_checkpoint_path: "{index.stem}"\nall_model_checkpoint_paths: "{index.stem}"\n'
        (whole.checkpoints / "checkpoint").write_text(state)
    return int(index.stem.rpartition("-")[2])


def _read(archive: pathlib.Path) -> dict[str, bytes]:
    """The members of a packed state, by name. Raises FileError."""
    try:
        with zipfile.ZipFile(archive) as packed:
            members = {name: packed.read(name) for name in packed.namelist()}
    except FileNotFoundError:
        raise FileError(f"{archive}: no such file") from None
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise FileError(f"{archive}: damaged or no packed state ({error}); pack the run again") from None
    indices = [name for name in members if name.endswith(".index")]
    if not all(map(_MEMBERS.fullmatch, members)) or "config.json" not in members or len(indices) != 1:
        raise FileError(f"{archive}: is not the packed state of a run; tools/training_state.py pack writes those")
    return members
