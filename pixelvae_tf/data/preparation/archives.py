"""Image files from folders and tar archives, one at a time: nothing is extracted to disk or held in memory."""

from __future__ import annotations

import pathlib
import posixpath
import tarfile
from collections.abc import Iterator

from pixelvae_tf.data.image_files import is_image, list_images
from pixelvae_tf.data.preparation import tar_stream
from pixelvae_tf.data.preparation.problems import Problems
from pixelvae_tf.data.schema import DataError

# A name and the bytes of an image file; the name is its path in the folder or archive.
Record = tuple[str, bytes]

_DEEPEST = 8  # archives in archives
_LARGEST_IMAGE = 256 << 20  # bytes; a header may claim any size


def read_folder(folder: pathlib.Path, problems: Problems) -> Iterator[Record]:
    """The images under a folder, sorted by path."""
    for name in list_images(folder):
        try:
            yield name, (folder / name).read_bytes()
        except OSError as error:
            problems.report(str(folder / name), f"cannot be read ({error.strerror})")


def read_tar(path: pathlib.Path, problems: Problems) -> Iterator[Record]:
    """The images in a tar archive and in the tar archives inside it, in their order.

    A member whose path leads outside the tree, and an archive that is damaged or cut short, are problems by name.

    Raises:
        DataError: for a file that is no tar archive, or a problem that may not be skipped.
    """
    try:
        archive, stream = tar_stream.open_file(path)
    except tar_stream.DAMAGED as error:
        raise DataError(f"{path}: not a tar archive ({error}); check --input") from None
    with stream, archive:
        cut_short = not tar_stream.ends_whole(path)
        if cut_short:
            problems.report(str(path), "cut short: the end of the archive is missing")
        try:
            yield from _members(archive, str(path), problems, depth=0)
        except tar_stream.DAMAGED as error:
            if not cut_short:
                problems.report(str(path), f"damaged or cut short ({error})")


def _members(archive: tarfile.TarFile, place: str, problems: Problems, depth: int) -> Iterator[Record]:
    while (member := archive.next()) is not None:
        archive.members.clear()  # tarfile keeps all of them: a gigabyte for a million images
        # A name need not be text in any encoding.
        name = member.name.encode(errors="surrogateescape").decode(errors="backslashreplace")
        if _leads_outside(name):
            problems.report(f"{place}: {name}", "leads outside the archive's tree")
        elif not member.isfile():
            continue
        elif name.lower().endswith(".tar"):
            yield from _nested(archive, member, f"{place}: {name}", problems, depth + 1)
        elif not is_image(name):
            continue
        elif member.size > _LARGEST_IMAGE:
            problems.report(f"{place}: {name}", f"claims {member.size / 1e9:.1f} GB, more than any image")
        else:
            yield posixpath.normpath(name), archive.extractfile(member).read()


def _nested(
    archive: tarfile.TarFile, member: tarfile.TarInfo, place: str, problems: Problems, depth: int
) -> Iterator[Record]:
    """The images of an archive in an archive (ILSVRC2012: one a class), under its name."""
    if member.issparse() or depth > _DEEPEST:
        reason = "is stored with holes" if member.issparse() else f"lies deeper than {_DEEPEST} archives in each other"
        problems.report(place, reason)
        return
    try:
        inner = tar_stream.open_stream(archive.extractfile(member))
    except tar_stream.DAMAGED as error:
        problems.report(place, f"not a tar archive ({error})")
        return
    name = place.rpartition(": ")[2]
    with inner:
        try:
            for inner_name, encoded in _members(inner, place, problems, depth):
                yield f"{posixpath.splitext(posixpath.normpath(name))[0]}/{inner_name}", encoded
        except tar_stream.DAMAGED as error:
            problems.report(place, f"damaged or cut short ({error})")


def _leads_outside(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return name.startswith(("/", "\\")) or ".." in parts or parts[0].endswith(":")
