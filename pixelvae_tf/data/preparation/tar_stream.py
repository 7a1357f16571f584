"""Tar archives as streams that notice damage.

Python's `tarfile` takes a header that it cannot read, or a block of zeros, for the end of an archive, and its streams
leave the checksums of gzip aside. Here the end is what the format says, blocks of zeros and nothing else, and
compressed files are read by the modules of their formats, which check.
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
# What a damaged archive makes the standard library raise.
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
    """A header. Raises ReadError for one that is damaged or lost, with its place."""

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
    """Reads on behind a block of zeros; also the checksum of a compressed file is behind it."""
    at = place + _BLOCK
    while block := archive.fileobj.read(_READ):
        if any(block):
            raise tarfile.ReadError(f"zeros in place of a header, at byte {place:,}, with more behind them")
        at += len(block)
    if at < place + 2 * _BLOCK:
        raise tarfile.ReadError(f"the end of the archive is missing, at byte {at:,}")


def open_file(path: pathlib.Path) -> tuple[tarfile.TarFile, BinaryIO]:
    """An archive, compressed or not, and the file to close after it. Raises one of `DAMAGED`."""
    stream = path.open("rb")
    try:
        return open_stream(stream), stream
    except BaseException:
        stream.close()
        raise


def open_stream(stream: io.BufferedReader) -> tarfile.TarFile:
    """An archive, compressed or not, in a stream of its bytes, to read member by member. Raises one of `DAMAGED`."""
    start = stream.peek(_MARK)[:_MARK]
    opener = next((opener for magic, opener in _OPENERS.items() if start.startswith(magic)), None)
    return tarfile.open(fileobj=opener(stream) if opener else stream, mode="r|", tarinfo=_Member)


def ends_whole(path: pathlib.Path) -> bool:
    """Whether an uncompressed archive has its end, without reading the rest: told before hours of work."""
    with path.open("rb") as file:
        if file.read(6).startswith(tuple(_OPENERS)):
            return True
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 2 * _BLOCK))
        return not any(file.read())
