"""Reads tar archives as streams and detects damage.

Python's `tarfile` treats an unreadable header, or one block of zeros, as the end of an archive, and its streams ignore
the checksums of gzip. Here only two blocks of zeros with nothing behind them end an archive, as the format says. The
modules `gzip`, `bz2` and `lzma` read compressed files and verify their checksums.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pathlib
import tarfile
import zlib
from typing import BinaryIO

_OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
# The exceptions that the standard library raises for damaged archives.
DAMAGED = (
    tarfile.TarError,
    EOFError,
    OSError,
    zlib.error,
    lzma.LZMAError,
    ValueError,
    OverflowError,
    MemoryError,
    RecursionError,
    KeyError,
    IndexError,
)
_BLOCK = 512
_MARK = 6
_READ = 1 << 20


class _Member(tarfile.TarInfo):
    """A header that raises ReadError with its position if it is damaged or missing."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> tarfile.TarInfo:
        place = archive.offset
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:
            _check_end(archive, place)
            raise
        except tarfile.EmptyHeaderError as error:
            reason = "the end of the archive is missing" if place else "it is empty"
            raise tarfile.ReadError(f"{reason}, at byte {place:,}") from error
        except (tarfile.HeaderError, ValueError, OverflowError, MemoryError, RecursionError) as error:
            raise tarfile.ReadError(f"{error or type(error).__name__}, at byte {place:,}") from error


def _check_end(archive: tarfile.TarFile, place: int) -> None:
    """Checks that only zeros follow a block of zeros. Reading on also verifies a compressed file's checksum."""
    at = place + _BLOCK
    while block := archive.fileobj.read(_READ):
        if any(block):
            raise tarfile.ReadError(f"zeros in place of a header, at byte {place:,}, with more behind them")
        at += len(block)
    if at < place + 2 * _BLOCK:
        raise tarfile.ReadError(f"the end of the archive is missing, at byte {at:,}")


def open_file(path: pathlib.Path) -> tuple[tarfile.TarFile, BinaryIO]:
    """Opens an archive, compressed or not. Returns it, and the file to close after it. Raises one of `DAMAGED`."""
    stream = path.open("rb")
    try:
        return open_stream(stream), stream
    except BaseException:
        stream.close()
        raise


def open_stream(stream: io.BufferedReader) -> tarfile.TarFile:
    """Opens an archive, compressed or not, from a stream, to read member by member. Raises one of `DAMAGED`."""
    start = stream.peek(_MARK)[:_MARK]
    opener = next((opener for magic, opener in _OPENERS.items() if start.startswith(magic)), None)
    return tarfile.open(fileobj=opener(stream) if opener else stream, mode="r|", tarinfo=_Member)


def ends_whole(path: pathlib.Path) -> bool:
    """Returns whether an uncompressed archive has its end, without reading the rest; True for compressed ones."""
    with path.open("rb") as file:
        if file.read(6).startswith(tuple(_OPENERS)):
            return True
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 2 * _BLOCK))
        return not any(file.read())
