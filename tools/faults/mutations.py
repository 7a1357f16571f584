"""Changes a few bytes in files of every kind that the package reads. Readers must return the same, or refuse them."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import io
import pathlib
import pickle
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from faults import tries
from pixelvae_tf.data import pixels
from pixelvae_tf.data.preparation import archives, chrabaszcz, lsun
from pixelvae_tf.data.preparation.problems import Problems
from pixelvae_tf.errors import UserError
from pixelvae_tf.runs import checkpoints, packing
from pixelvae_tf.runs.workdir import Run

_SECONDS = 300
_IMAGES = 12


@dataclasses.dataclass(frozen=True)
class Subject:
    """A file to change, and its reader.

    Attributes:
        name: the kind of file.
        file: path relative to the folder that is copied for every try.
        read: reads the file in a given folder and returns its content, to compare.
    """

    name: str
    file: str
    read: Callable[[pathlib.Path], Any]


def make(folder: pathlib.Path, workdir: pathlib.Path) -> list[Subject]:
    """Writes files of random pictures and of a finished run. Returns each with its reader."""
    folder.mkdir()
    shutil.copytree(workdir, folder / "run")
    packing.pack(str(workdir), folder / "state.zip")
    images = np.random.default_rng(0).integers(0, 256, (_IMAGES, 64, 64, 3), np.uint8)
    encoded = [(f"a/{index:02d}.png", _png(image)) for index, image in enumerate(images)]
    _write_tar(folder / "a.tar", encoded)
    (folder / "a.tar.gz").write_bytes(gzip.compress((folder / "a.tar").read_bytes(), mtime=0))
    batch = {"data": images.reshape(_IMAGES, -1), "labels": [1] * _IMAGES}
    with zipfile.ZipFile(folder / "batches.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train_data_batch_1", pickle.dumps(batch, 2))
    _write_lmdb(folder / "lmdb", encoded)
    run, step = folder / "run", checkpoints.steps(workdir / "checkpoints")[0]
    weights = Run(run).best_weights()[0].relative_to(folder)
    return [
        Subject("tar", "a.tar", lambda place: _pixels(archives.read_tar(place / "a.tar", Problems("fail")))),
        Subject("tar.gz", "a.tar.gz", lambda place: _pixels(archives.read_tar(place / "a.tar.gz", Problems("fail")))),
        Subject("batches in a zip", "batches.zip", _batches),
        Subject("LMDB", "lmdb/data.mdb", _database),
        Subject("packed state", "state.zip", _unpacked),
        Subject("best weights", str(weights), lambda place: Run(place / "run").best_weights()[0].read_bytes()),
        Subject("best.json", "run/best/best.json", lambda place: Run(place / "run").best_weights()[0].read_bytes()),
        Subject("checkpoint", f"run/checkpoints/ckpt-{step}.data-00000-of-00001", _checkpoint),
        Subject("checkpoint's index", f"run/checkpoints/ckpt-{step}.index", _checkpoint),
    ]


def one(subject: Subject, source: pathlib.Path, place: pathlib.Path, random, tally: tries.Tally) -> None:
    """Changes a copy of one file, reads it, and counts the outcome."""
    kind = f"mutation of {subject.name}"
    shutil.copytree(source, place)
    try:
        expected = _expected(subject, source)
        file = place / subject.file
        content, how = mutated(file.read_bytes(), random)
        file.write_bytes(content)
        with tries.in_time(_SECONDS):
            same = subject.read(place) == expected
        tally.add(kind, "right" if same else "wrong", how)
    except UserError as error:
        tally.add(kind, "refused" if "\n" not in str(error) else "wrong", str(error))
    except tries.Hung:
        tally.add(kind, "hung", how)
    except Exception as error:
        tally.add(kind, "wrong", f"{how}: {type(error).__name__}: {error}"[:300])
    finally:
        shutil.rmtree(place)


@functools.cache
def _expected(subject: Subject, source: pathlib.Path) -> Any:
    return subject.read(source)


def mutated(content: bytes, random) -> tuple[bytes, str]:
    """Flips a bit, zeroes or overwrites a block, or cuts the end. Returns the result and a description."""
    changed, at = bytearray(content), random.randrange(len(content))
    how = random.choice(("bit", "zeros", "noise", "cut"))
    if how == "bit":
        changed[at] ^= 1 << random.randrange(8)
    elif how == "cut":
        del changed[at:]
    else:
        length = min(random.choice((1, 16, 512, 4096)), len(content) - at)
        changed[at : at + length] = bytes(length) if how == "zeros" else random.randbytes(length)
    return bytes(changed), f"{how} at byte {at:,} of {len(content):,}"


def write_pictures(path: pathlib.Path, count: int) -> None:
    """Writes an archive of random pictures, in the published format."""
    images = np.random.default_rng(1).integers(0, 256, (count, 64, 64, 3), np.uint8)
    _write_tar(path, [(f"train_64x64/{index + 1:07d}.png", _png(image)) for index, image in enumerate(images)])


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def _write_tar(path: pathlib.Path, members: list[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def _write_lmdb(folder: pathlib.Path, records: list[tuple[str, bytes]]) -> None:
    import lmdb

    folder.mkdir()
    with lmdb.open(str(folder), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
        for key, value in records:
            transaction.put(key.encode(), value)


def _pixels(records) -> list[bytes]:
    """Decodes images as a preparation does, without their names: a database has no checksum of its keys."""
    found = pixels.convert_many(list(records), pixels.Geometry(64))
    for name, image in found:
        if isinstance(image, str):
            raise UserError(f"{name}: {image}")
    return [image.tobytes() for _, image in found]


def _batches(place: pathlib.Path) -> list[bytes]:
    found = chrabaszcz.read_batches(place / "batches.zip", Problems("fail"))
    images = [image.tobytes() for _, image in found]
    if not images:
        raise UserError("no batch")
    return images


def _database(place: pathlib.Path) -> list[bytes]:
    with lsun.opened(place / "lmdb") as database:
        return _pixels(database)


def _unpacked(place: pathlib.Path) -> dict[str, bytes]:
    target = place / "unpacked"
    try:
        packing.unpack(place / "state.zip", str(target))
        return {path.name: path.read_bytes() for path in sorted(target.rglob("*")) if path.is_file()}
    finally:
        shutil.rmtree(target, ignore_errors=True)


def _checkpoint(place: pathlib.Path) -> list[bytes]:
    import tensorflow as tf

    folder = place / "run" / "checkpoints"
    path = checkpoints.prefix(folder, checkpoints.steps(folder)[0])
    if reason := checkpoints.damage(path):
        raise UserError(reason)
    reader = tf.train.load_checkpoint(str(path))
    return [np.asarray(reader.get_tensor(name)).tobytes() for name in sorted(reader.get_variable_to_shape_map())]
