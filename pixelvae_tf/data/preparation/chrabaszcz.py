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

from pixelvae_tf import zips
from pixelvae_tf.data.preparation.problems import Problems

_PREFIXES = ("train_data", "val_data")
_SIZE = 64
_COLORS = 3
_LARGEST_BATCH = 4 << 30  # bytes; the published ones take 1.6 GB


class _Type:
    """A type of numbers in a pickle: what `numpy.dtype` is called with there, and the byte order set on it."""

    def __init__(self, code: str, align: object = False, copy: object = False):
        if not isinstance(code, str) or not re.fullmatch(r"[<>|=]?([biuf][1248]|f16)", code):
            raise pickle.UnpicklingError(f"asks for numbers of type {code!r:.20}")
        self.type = np.dtype(code)

    def __setstate__(self, state):
        if state[1] not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError("asks for records in place of numbers")
        self.type = self.type.newbyteorder(state[1])


class _Array:
    """An array in a pickle, without the memory that NumPy would give one before its numbers are known.

    Attributes:
        array: its numbers; of none until they are set.
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
    """How an array is made in pickles of protocol 5."""
    made = _Array()
    made.array = _numbers(content, kind, shape, order)
    return made


def _latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes into pickles of old protocols."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"asks for the encoding {encoding!r}")
    return text.encode("latin1")


class ArrayUnpickler(pickle.Unpickler):
    """Reads pickles of NumPy arrays in dictionaries, lists and tuples. Raises UnpicklingError for all else.

    An array arrives as an object whose `array` it is. Nothing of NumPy's is called on the word of the file: what a
    pickle names is answered by a class or a function of this module, which takes what an array's own pickle has.
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
    """Whether a file is taken for a batch, by its name: train_data_batch_1, val_data, also with .npz."""
    return pathlib.PurePosixPath(name).name.startswith(_PREFIXES)


def has_batches(path: pathlib.Path) -> bool:
    """Whether `path` is a batch, or a folder or zip archive of batches."""
    if path.is_dir():
        return any(is_batch(entry.name) for entry in path.iterdir())
    return is_batch(path.name) or (zipfile.is_zipfile(path) and any(map(is_batch, _zipped(path))))


def read_batches(path: pathlib.Path, problems: Problems) -> Iterator[tuple[str, np.ndarray]]:
    """The images of a batch, or of all batches in a folder or zip archive: a name and (64, 64, 3) uint8.

    One batch is in memory at a time (1.6 GB for a tenth of the training images).
    """
    for name, open_file in _files(path):
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


def _files(path: pathlib.Path):
    """Names of the batches, each with a function that opens it."""
    if path.is_dir():
        for entry in sorted(path.iterdir(), key=lambda entry: _order(entry.name)):
            if is_batch(entry.name):
                yield entry.name, lambda entry=entry: entry.open("rb")
    elif is_batch(path.name) and not zipfile.is_zipfile(path) or path.suffix == ".npz":
        yield path.name, lambda: path.open("rb")
    else:
        with zips.opened(path) as archive:
            for entry in sorted(filter(_is_batch_entry, archive.infolist()), key=lambda entry: _order(entry.filename)):
                yield entry.filename, lambda entry=entry: _open_entry(archive, entry)


def _order(name: str) -> tuple[int, str]:
    return len(name), name  # batch_2 before batch_10


def _is_batch_entry(entry: zipfile.ZipInfo) -> bool:
    return is_batch(entry.filename) and not entry.is_dir()


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
    """Raises ValueError for arrays that NumPy should not be asked to read."""
    with zipfile.ZipFile(file) as arrays:
        for entry in arrays.infolist():
            if reason := zips.refused(entry):
                raise ValueError(f"{entry.filename} {reason}")
            if entry.file_size > _LARGEST_BATCH:
                raise ValueError(f"{entry.filename} would take {entry.file_size / 1e9:.1f} GB of memory")
    file.seek(0)


def _images(file, name: str) -> np.ndarray:
    """(examples, 3, 64, 64) uint8."""
    if name.endswith(".npz"):
        _check_npz(file)
        with np.load(file, allow_pickle=False) as arrays:
            data = arrays["data"]
    else:
        batch = ArrayUnpickler(file, encoding="latin1").load()
        if not isinstance(batch, dict) or "data" not in batch:
            raise ValueError("no dictionary with 'data'")
        data = batch["data"].array if isinstance(batch["data"], _Array) else batch["data"]
    values = _COLORS * _SIZE * _SIZE
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != values:
        shape = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise ValueError(f"'data' is {shape}, not uint8 (images, {values})")
    return data.reshape(-1, _COLORS, _SIZE, _SIZE)
