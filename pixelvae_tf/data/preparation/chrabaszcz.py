"""The down-sampled ImageNet of Chrabaszcz et al. (2017): pickled (or npz) batches of flattened images.

A pickle can run any code when it is read. The reader here accepts only what rebuilds a NumPy array.
"""

from __future__ import annotations

import pathlib
import pickle
import re
import zipfile
from collections.abc import Iterator

import numpy as np

from pixelvae_tf import zips
from pixelvae_tf.data.preparation.problems import Problems
from pixelvae_tf.data.schema import DataError

# Matches the published names, but not train_data.csv or train_data_0000.png, which only begin like them.
_BATCH = re.compile(r"((train|val)_data(_batch_\d+)?)(\.npz|\.pkl|\.pickle)?")
_PART = re.compile(r"part[_-]?\d+", re.IGNORECASE)
_KINDS = {"train": "train", "validation": "val", "test": "val"}
_SIZES = (64, 32)
_COLORS = 3
_LARGEST_BATCH = 2 << 30  # bytes; the published ones take 1.6 GB


class _Type:
    """Stands in for `numpy.dtype` in a pickle: a type of numbers, with the byte order that the pickle sets on it."""

    def __init__(self, code: str, align: object = False, copy: object = False):
        if not isinstance(code, str) or not re.fullmatch(r"[<>|=]?([biuf][1248]|f16)", code):
            raise pickle.UnpicklingError(f"asks for numbers of type {code!r:.20}")
        self.type = np.dtype(code)

    def __setstate__(self, state):
        if state[1] not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError("asks for records in place of numbers")
        self.type = self.type.newbyteorder(state[1])


class _Array:
    """Stands in for an array in a pickle. NumPy's own would allocate any claimed shape before it reads the numbers.

    Attributes:
        array: the numbers; empty until the pickle sets them.
    """

    def __init__(self, kind: object = None, shape: object = (0,), code: object = b"b"):
        self.array = np.zeros(0, np.uint8)

    def __setstate__(self, state):
        _, shape, kind, of_columns, content = state
        # Python 2 wrote bytes as text.
        content = content.encode("latin1") if isinstance(content, str) else content
        self.array = _numbers(content, kind, shape, "F" if of_columns else "C")


def _numbers(content: object, kind: object, shape: object, order: str) -> np.ndarray:
    if not isinstance(content, (bytes, bytearray)) or not isinstance(kind, _Type) or not isinstance(shape, tuple):
        raise pickle.UnpicklingError("an array is not described as NumPy does")
    return np.frombuffer(content, kind.type).reshape(shape, order=order)


def _from_buffer(content: object, kind: object, shape: object, order: str) -> _Array:
    """Makes an array for a pickle of protocol 5."""
    made = _Array()
    made.array = _numbers(content, kind, shape, order)
    return made


def _latin1(text: str, encoding: str) -> bytes:
    """Decodes bytes as Python 3 writes them into pickles of old protocols."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"asks for the encoding {encoding!r}")
    return text.encode("latin1")


class ArrayUnpickler(pickle.Unpickler):
    """Reads pickles of NumPy arrays in dictionaries, lists and tuples. Raises UnpicklingError for anything else.

    An array arrives as an object with an attribute `array`. The file cannot make us call NumPy: for each name in the
    pickle a class or function of this module stands in, which accepts only the arguments of an array's own pickle.
    """

    _ADMITTED = {
        ("numpy", "ndarray"): None,  # named as the kind of array, and never called
        ("numpy", "dtype"): _Type,
        ("_codecs", "encode"): _latin1,
        # NumPy 1 and 2.
        **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
        **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
    }

    def find_class(self, module: str, name: str):
        if (module, name) not in self._ADMITTED:
            raise pickle.UnpicklingError(f"asks for {module}.{name}; only NumPy arrays are admitted")
        return self._ADMITTED[module, name]


def is_batch(name: str) -> bool:
    """Returns whether a file's name marks it as a batch: train_data_batch_1, val_data, also with .npz or .pickle."""
    return bool(_BATCH.fullmatch(pathlib.PurePosixPath(name).name))


def has_batches(path: pathlib.Path) -> bool:
    """Returns whether `path` is a batch, a zip archive of batches, or a folder of both."""
    return any(True for _ in _found(path))


def check_whole(path: pathlib.Path) -> None:
    """Raises DataError for a single zip archive if the batches of a split are published in several."""
    if path.is_file() and zipfile.is_zipfile(path) and _PART.search(path.stem):
        raise DataError(
            f"--input={path}: is one part of several; put all parts into one folder, as they are or unpacked, and name "
            "that"
        )


def read_batches(path: pathlib.Path, problems: Problems, split: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Yields the images of a batch, or of all batches in a folder or zip archive.

    One batch is in memory at a time (1.6 GB for a tenth of the training images). A batch that exists in two formats
    is read once.

    Args:
        path: the batch, folder or archive.
        problems: receives unreadable batches.
        split: reads only the batches of this split; empty for all. The published validation images also serve as test.

    Yields:
        A name and (side, side, 3) uint8 for each image; the published side is 64 or 32.
    """
    for name, open_file in _files(path, split, problems):
        place = f"{path}: {name}" if name != path.name else str(path)
        try:
            with open_file() as file:
                images = _images(file, name)
        except (
            pickle.UnpicklingError,
            KeyError,
            TypeError,
            AttributeError,
            IndexError,
            ImportError,
            MemoryError,
            OverflowError,
            *zips.ERRORS,
        ) as error:
            reason = " ".join(str(error).split())[:120]
            problems.report(place, f"not a readable batch of images ({reason})")
            continue
        for index in range(len(images)):
            yield f"{name}/{index:07d}", images[index].transpose(1, 2, 0)
        del images


def _files(path: pathlib.Path, split: str, problems: Problems):
    """Yields the name of each batch of a split, with a function that opens it."""
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
    """Yields each batch: its name, its file, and its entry if the file is a zip archive."""
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
    with zips.opened(file) as archive:  # an open entry keeps the file
        return _open_entry(archive, archive.getinfo(entry))


def _order(name: str) -> tuple[int, str]:
    return len(name), name  # batch_2 before batch_10


def _open_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo):
    reason = zips.refused(entry)
    if reason is None and entry.file_size > _LARGEST_BATCH:
        reason = f"would take {entry.file_size / 1e9:.1f} GB of memory, more than any batch"
    if reason:
        raise ValueError(reason)
    return archive.open(entry)


def _zipped(path: pathlib.Path) -> list[str]:
    with zips.opened(path) as archive:
        return archive.namelist()


def _check_npz(file) -> None:
    """Raises ValueError for arrays that NumPy cannot read, or that would take too much memory."""
    with zipfile.ZipFile(file) as arrays:
        for entry in arrays.infolist():
            if reason := zips.refused(entry):
                raise ValueError(f"{entry.filename} {reason}")
            if entry.file_size > _LARGEST_BATCH:
                raise ValueError(f"{entry.filename} would take {entry.file_size / 1e9:.1f} GB of memory")
    file.seek(0)


def _images(file, name: str) -> np.ndarray:
    """Reads the images of a batch: (examples, 3, side, side) uint8."""
    if name.endswith(".npz"):
        _check_npz(file)
        with np.load(file, allow_pickle=False) as arrays:
            data = arrays["data"]
    else:
        batch = ArrayUnpickler(file, encoding="latin1").load()
        if file.read(1):  # reading to the end also verifies the checksum of a ZIP archive
            raise ValueError("holds more than one pickle")
        if not isinstance(batch, dict) or "data" not in batch:
            raise ValueError("no dictionary with 'data'")
        data = batch["data"].array if isinstance(batch["data"], _Array) else batch["data"]
    sides = {_COLORS * size * size: size for size in _SIZES}
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] not in sides:
        shape = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise ValueError(f"'data' is {shape}, not uint8 (images, {' or '.join(map(str, sides))})")
    side = sides[data.shape[1]]
    return data.reshape(-1, _COLORS, side, side)
