"""ZIP archives that others made: what is in one is judged by its directory, before anything is read."""

from __future__ import annotations

import contextlib
import pathlib
import zipfile
import zlib
from collections.abc import Iterator

from pixelvae_tf.files import FileError

# What reading an entry may raise: damaged, encrypted, or compressed in a way that is not supported.
ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError)
_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@contextlib.contextmanager
def opened(path: pathlib.Path) -> Iterator[zipfile.ZipFile]:
    """A ZIP archive to read. Raises FileError for a file that is none, or that cannot be read."""
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise FileError(f"{path}: no such file") from None
    except ERRORS as error:
        raise FileError(f"{path}: damaged or no ZIP archive ({_short(error)}); restore it") from None
    with archive:
        yield archive


def refused(entry: zipfile.ZipInfo) -> str | None:
    """Why an entry is not read, or None."""
    if entry.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if entry.compress_type not in _METHODS:
        return f"is compressed by method {entry.compress_type}, which is not read here"
    return None


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
