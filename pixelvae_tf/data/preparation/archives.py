"""Image files from folders and tar archives, one at a time: nothing is extracted to disk or held in memory."""

from __future__ import annotations

import lzma
import os
import pathlib
import posixpath
import tarfile
import zlib
from collections.abc import Iterator

from pixelvae_tf.data.image_files import is_image, list_images
from pixelvae_tf.data.preparation.problems import Problems
from pixelvae_tf.data.schema import DataError

# A name and the bytes of an image file; the name is its path in the folder or archive.
Record = tuple[str, bytes]

_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
_DAMAGED = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError)
_TWO_BLOCKS = 1024  # bytes of zeros that end every tar archive


def read_folder(folder: pathlib.Path, problems: Problems) -> Iterator[Record]:
    """The images under a folder, sorted by path."""
    for name in list_images(folder):
        try:
            yield name, (folder / name).read_bytes()
        except OSError as error:
            problems.report(str(folder / name), f"cannot be read ({error.strerror})")


def read_tar(path: pathlib.Path, problems: Problems) -> Iterator[Record]:
    """The images in a tar archive and in the tar archives inside it, in their order.

    A member whose path leads outside the tree, and an archive that is cut short, are problems by name.

    Raises:
        DataError: for a file that is no tar archive, or a problem that may not be skipped.
    """
    try:
        archive = tarfile.open(path, "r|*")  # noqa: SIM115
    except _DAMAGED as error:
        raise DataError(f"{path}: not a tar archive ({error}); check --input") from None
    with archive:
        cut_short = not _ends_whole(path)
        if cut_short:
            problems.report(str(path), "cut short: the end of the archive is missing")
        try:
            yield from _members(archive, str(path), problems)
        except _DAMAGED as error:
            if not cut_short:
                problems.report(str(path), f"damaged or cut short ({error})")


def _ends_whole(path: pathlib.Path) -> bool:
    """Whether an uncompressed archive has its end, without reading the rest; tarfile itself does not look."""
    with path.open("rb") as file:
        if file.read(6).startswith(_COMPRESSED):
            return True
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TWO_BLOCKS))
        return not any(file.read())


def _members(archive: tarfile.TarFile, place: str, problems: Problems) -> Iterator[Record]:
    while (member := archive.next()) is not None:
        archive.members.clear()  # tarfile keeps all of them: a gigabyte for a million images
        if _leads_outside(member.name):
            problems.report(f"{place}: {member.name}", "leads outside the archive's tree")
        elif not member.isfile():
            continue
        elif member.name.lower().endswith(".tar"):
            yield from _nested(archive, member, place, problems)
        elif is_image(member.name):
            yield posixpath.normpath(member.name), archive.extractfile(member).read()


def _nested(archive: tarfile.TarFile, member: tarfile.TarInfo, place: str, problems: Problems) -> Iterator[Record]:
    """The images of an archive in an archive (ILSVRC2012: one a class), under its name."""
    inner_place = f"{place}: {member.name}"
    try:
        inner = tarfile.open(fileobj=archive.extractfile(member), mode="r|")  # noqa: SIM115
    except tarfile.TarError as error:
        problems.report(inner_place, f"not a tar archive ({error})")
        return
    with inner:
        for name, encoded in _members(inner, inner_place, problems):
            yield f"{posixpath.splitext(posixpath.normpath(member.name))[0]}/{name}", encoded


def _leads_outside(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return name.startswith(("/", "\\")) or ".." in parts or parts[0].endswith(":")
