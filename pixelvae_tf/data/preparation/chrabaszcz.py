"""The down-sampled ImageNet of Chrabaszcz et al. (2017): pickled (or npz) batches of flattened images.

A pickle can run any code when it is read. The reader here admits what rebuilds a NumPy array and nothing else.
"""

from __future__ import annotations

import pathlib
import pickle
import re
import zipfile
from collections.abc import Iterator

import numpy as np

from pixelvae_tf.data.preparation.problems import Problems
from pixelvae_tf.data.schema import DataError

# The published names, and none that only begin like them: train_data.csv, train_data_0000.png.
_BATCH = re.compile(r"((train|val)_data(_batch_\d+)?)(\.npz|\.pkl|\.pickle)?")
_PART = re.compile(r"part[_-]?\d+", re.IGNORECASE)
_KINDS = {"train": "train", "validation": "val", "test": "val"}
_SIZES = (64, 32)
_COLORS = 3


def _latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes into pickles of old protocols."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"asks for the encoding {encoding!r}")
    return text.encode("latin1")


def _admitted() -> dict[tuple[str, str], object]:
    array = np.zeros(1, np.uint8)
    reconstruct = array.__reduce__()[0]
    from_buffer = array.__reduce_ex__(5)[0]
    admitted = {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype, ("_codecs", "encode"): _latin1}
    for package in ("numpy.core", "numpy._core"):  # NumPy 1 and 2
        admitted[f"{package}.multiarray", "_reconstruct"] = reconstruct
        admitted[f"{package}.numeric", "_frombuffer"] = from_buffer
    return admitted


class ArrayUnpickler(pickle.Unpickler):
    """Reads pickles of NumPy arrays in dictionaries, lists and tuples. Raises UnpicklingError for all else."""

    _ADMITTED = _admitted()

    def find_class(self, module: str, name: str):
        if (module, name) not in self._ADMITTED:
            raise pickle.UnpicklingError(f"asks for {module}.{name}; only NumPy arrays are admitted")
        return self._ADMITTED[module, name]


def is_batch(name: str) -> bool:
    """Whether a file is taken for a batch, by its name: train_data_batch_1, val_data, also with .npz or .pickle."""
    return bool(_BATCH.fullmatch(pathlib.PurePosixPath(name).name))


def has_batches(path: pathlib.Path) -> bool:
    """Whether `path` is a batch, a zip archive of batches, or a folder of both."""
    return any(True for _ in _found(path))


def check_whole(path: pathlib.Path) -> None:
    """Raises DataError for one of the zip archives in which the batches of a split are published together."""
    if path.is_file() and zipfile.is_zipfile(path) and _PART.search(path.stem):
        raise DataError(
            f"--input={path}: is one part of several; put all parts into one folder, as they are or unpacked, and name "
            "that"
        )


def read_batches(path: pathlib.Path, problems: Problems, split: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """The images of a batch, or of all batches in a folder or zip archive.

    One batch is in memory at a time (1.6 GB for a tenth of the training images). A batch that is there in two forms
    is read once.

    Args:
        path: of the batch, folder or archive.
        problems: where unreadable batches are reported.
        split: only the batches of it; empty for all. The published validation images serve for test as well.

    Yields:
        A name and (side, side, 3) uint8 for each image, of side 64 or 32 as it was published.
    """
    for name, open_file in _files(path, split, problems):
        place = f"{path}: {name}" if name != path.name else str(path)
        try:
            with open_file() as file:
                images = _images(file, name)
        except (
            pickle.UnpicklingError,
            EOFError,
            OSError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            IndexError,
            ImportError,
            MemoryError,
            zipfile.BadZipFile,
            OverflowError,
        ) as error:
            reason = " ".join(str(error).split())[:120]
            problems.report(place, f"not a readable batch of images ({reason})")
            continue
        for index in range(len(images)):
            yield f"{name}/{index:07d}", images[index].transpose(1, 2, 0)
        del images


def _files(path: pathlib.Path, split: str, problems: Problems):
    """Names of the batches of a split, each with a function that opens it."""
    taken = set()
    for name, file, entry in sorted(_found(path), key=lambda found: _order(found[0])):
        batch = _BATCH.fullmatch(pathlib.PurePosixPath(name).name)
        if split and batch[2] != _KINDS[split]:
            continue
        if batch[1] in taken:
            problems.pass_over({"second form of a batch": 1})
        else:
            taken.add(batch[1])
            yield name, lambda file=file, entry=entry: _open(file, entry)


def _found(path: pathlib.Path) -> Iterator[tuple[str, pathlib.Path, str | None]]:
    """Batches by name: the file with each, and its entry where the file is a zip archive."""
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        if not file.is_file():
            continue
        if is_batch(file.name):
            yield file.name, file, None
        elif zipfile.is_zipfile(file):
            yield from ((name, file, name) for name in _zipped(file) if is_batch(name))


def _open(file: pathlib.Path, entry: str | None):
    if entry is None:
        return file.open("rb")
    with zipfile.ZipFile(file) as archive:  # an open entry keeps the file
        return archive.open(entry)


def _order(name: str) -> tuple[int, str]:
    return len(name), name  # batch_2 before batch_10


def _zipped(path: pathlib.Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def _images(file, name: str) -> np.ndarray:
    """(examples, 3, side, side) uint8."""
    if name.endswith(".npz"):
        with np.load(file, allow_pickle=False) as arrays:
            data = arrays["data"]
    else:
        batch = ArrayUnpickler(file, encoding="latin1").load()
        if not isinstance(batch, dict) or "data" not in batch:
            raise ValueError("no dictionary with 'data'")
        data = batch["data"]
    sides = {_COLORS * size * size: size for size in _SIZES}
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] not in sides:
        shape = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise ValueError(f"'data' is {shape}, not uint8 (images, {' or '.join(map(str, sides))})")
    side = sides[data.shape[1]]
    return data.reshape(-1, _COLORS, side, side)
