"""Packs the training state of a run into one small file. Training continues from it elsewhere exactly as it would here.

The file holds the last checkpoint (weights, their average, the optimizer's moments, the step), the configuration, the
history and the best weights. It leaves out TensorBoard's events and the records of a finished run.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import tempfile
import zipfile

from pixelvae_tf import files, zips
from pixelvae_tf.files import FileError
from pixelvae_tf.runs import checkpoints, weight_files
from pixelvae_tf.runs.workdir import Run

# Weights hardly compress. An archive with a higher ratio was made to fill a disk.
_LARGEST_RATIO = 100
_MEMBERS = re.compile(
    r"(config|classes)\.json|history\.jsonl|best/(best\.json|[\w-]+\.weights\.h5)|checkpoints/ckpt-\d+\.[\w-]+"
)


def pack(workdir: str, archive: pathlib.Path) -> int:
    """Packs the state of a run, even while it trains.

    Args:
        workdir: the work directory of the run.
        archive: ZIP file to write. The same state gives the same bytes.

    Returns:
        The step from which the run will continue.

    Raises:
        FileError: if there is no run, or no complete checkpoint yet.
    """
    run = Run(workdir)
    config = run.config().portable()
    step, checkpoint = _last_checkpoint(run)
    members = {"config.json": _json(config.to_dict())}
    members |= {f"checkpoints/{name}": content for name, content in checkpoint.items()}
    if run.classes_file.exists():
        members["classes.json"] = run.classes_file.read_bytes()
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
            # ZipInfo's default timestamp is constant, so the bytes are reproducible.
            packed.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return step


def _last_checkpoint(run: Run) -> tuple[int, dict[str, bytes]]:
    """Returns the step of the newest intact checkpoint, and its files by name. Raises FileError if there is none."""
    there = checkpoints.steps(run.checkpoints)
    for step in there:
        # Copy first, then check: a run in training may delete the checkpoint meanwhile.
        with tempfile.TemporaryDirectory() as folder:
            copy = pathlib.Path(folder)
            try:
                for path in checkpoints.members(run.checkpoints, step):
                    shutil.copy(path, copy)
            except FileNotFoundError:
                continue
            if checkpoints.damage(checkpoints.prefix(copy, step)) is None:
                return step, {path.name: path.read_bytes() for path in copy.iterdir()}
    every = run.config().training.checkpoint_every
    remedy = "none there is whole; continue training" if there else f"train until step {every}"
    raise FileError(f"--workdir={run.workdir}: has no checkpoint; {remedy}")


def _json(value) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def unpack(archive: pathlib.Path, workdir: str) -> int:
    """Creates a work directory in which the same `train` command continues the run.

    Args:
        archive: a file from `pack`.
        workdir: folder to create; it may exist if it is empty.

    Returns:
        The step from which the run will continue.

    Raises:
        FileError: if the file is damaged or not from `pack`, or the folder is not empty.
    """
    run = Run(workdir)
    if run.workdir.exists() and (not run.workdir.is_dir() or any(run.workdir.iterdir())):
        raise FileError(f"--workdir={workdir}: is there and not empty; choose another folder")
    files.remove_leftovers(run.workdir.parent, run.workdir.name)
    with zips.opened(archive) as packed, files.replacing_folder(run.workdir) as folder:
        step = _step_of(packed, archive)
        whole = Run(folder)
        for entry in packed.infolist():
            _extract(packed, entry, whole.workdir / entry.filename, archive)
        # TensorFlow finds the checkpoint through this file.
        checkpoints.write_state(whole.checkpoints, [step])
        _check_whole(whole, archive)
    return step


def _step_of(packed: zipfile.ZipFile, archive: pathlib.Path) -> int:
    """Checks names, sizes and storage in the archive's directory. Returns the step of its checkpoint.

    Raises:
        FileError: if it is not a packed state.
    """
    entries, names = packed.infolist(), packed.namelist()
    steps = {name[len("checkpoints/ckpt-") :].partition(".")[0] for name in names if name.startswith("checkpoints/")}
    indices = [name for name in names if name.endswith(".index")]
    fitting = all(map(_MEMBERS.fullmatch, names)) and len(set(names)) == len(names)
    if not fitting or "config.json" not in names or len(indices) != 1 or len(steps) != 1:
        raise FileError(f"{archive}: is not the packed state of a run; tools/training_state.py pack writes those")
    for entry in entries:
        if reason := zips.refused(entry):
            raise FileError(f"{archive}: {entry.filename} {reason}; pack the run again")
    size, packed_size = sum(entry.file_size for entry in entries), os.path.getsize(archive)
    if size > _LARGEST_RATIO * packed_size:
        raise FileError(
            f"{archive}: {packed_size / 1e6:.1f} MB that would unpack to {size / 1e9:.1f} GB are no packed state; "
            "pack the run again"
        )
    return int(steps.pop())


def _extract(packed: zipfile.ZipFile, entry: zipfile.ZipInfo, path: pathlib.Path, archive: pathlib.Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as target:
        try:
            with packed.open(entry) as source:
                shutil.copyfileobj(source, target)
        except zips.ERRORS as error:
            if isinstance(error, OSError) and files.storage_error(error):
                raise  # the error is about the folder, not the archive
            raise FileError(f"{archive}: damaged or no packed state ({error}); pack the run again") from None


def _check_whole(run: Run, archive: pathlib.Path) -> None:
    """Checks the unpacked configuration, history and best weights. Raises FileError if one is damaged."""
    try:
        run.config()
        run.history()
        if run.best_folder.exists():
            run.best_weights()
    except FileError as error:
        reason = str(error).replace(f"{run.workdir}/", "").split(";")[0]
        raise FileError(f"{archive}: is not the packed state of a run ({reason}); pack the run again") from None
