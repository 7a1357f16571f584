"""The down-sampled ImageNet of Chrabaszcz et al. (2017): pickled (or npz) batches of flattened images.

A pickle can run any code when it is read. The reader here admits what rebuilds a NumPy array and nothing else.
"""

from __future__ import annotations

import pathlib
import pickle
import zipfile
from collections.abc import Iterator

import numpy as np

from pixelvae_tf.data.preparation.problems import Problems

_PREFIXES = ("train_data", "val_data")
_SIZE = 64
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


def _files(path: pathlib.Path):
    """Names of the batches, each with a function that opens it."""
    if path.is_dir():
        for entry in sorted(path.iterdir(), key=lambda entry: _order(entry.name)):
            if is_batch(entry.name):
                yield entry.name, lambda entry=entry: entry.open("rb")
    elif is_batch(path.name) and not zipfile.is_zipfile(path) or path.suffix == ".npz":
        yield path.name, lambda: path.open("rb")
    else:
        with zipfile.ZipFile(path) as archive:
            for name in sorted(filter(is_batch, archive.namelist()), key=_order):
                yield name, lambda name=name: archive.open(name)


def _order(name: str) -> tuple[int, str]:
    return len(name), name  # batch_2 before batch_10


def _zipped(path: pathlib.Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def _images(file, name: str) -> np.ndarray:
    """(examples, 3, 64, 64) uint8."""
    if name.endswith(".npz"):
        with np.load(file, allow_pickle=False) as arrays:
            data = arrays["data"]
    else:
        batch = ArrayUnpickler(file, encoding="latin1").load()
        if not isinstance(batch, dict) or "data" not in batch:
            raise ValueError("no dictionary with 'data'")
        data = batch["data"]
    values = _COLORS * _SIZE * _SIZE
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != values:
        shape = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise ValueError(f"'data' is {shape}, not uint8 (images, {values})")
    return data.reshape(-1, _COLORS, _SIZE, _SIZE)
