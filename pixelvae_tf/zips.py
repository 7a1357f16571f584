"""Reads ZIP archives from others. An archive's directory is checked before any of its files is read."""

from __future__ import annotations

import contextlib
import pathlib
import zipfile
import zlib
from collections.abc import Iterator

from pixelvae_tf.files import FileError

# The errors of reading an entry that is damaged, encrypted, or compressed by an unsupported method.
ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError)
_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@contextlib.contextmanager
def opened(path: pathlib.Path) -> Iterator[zipfile.ZipFile]:
    """Opens a ZIP archive for reading. Raises FileError if the file is not one or cannot be read."""
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise FileError(f"{path}: no such file") from None
    except ERRORS as error:
        raise FileError(f"{path}: damaged or no ZIP archive ({_short(error)}); restore it") from None
    with archive:
        yield archive


def refused(entry: zipfile.ZipInfo) -> str | None:
    """Returns why an entry cannot be read, or None."""
    if entry.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if entry.compress_type not in _METHODS:
        return f"is compressed by method {entry.compress_type}, which is not read here"
    return None


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
