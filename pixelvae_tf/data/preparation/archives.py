"""Reads image files from folders, tar and zip archives one at a time, without unpacking to disk or memory."""

from __future__ import annotations

import pathlib
import posixpath
import re
import stat
import tarfile
import zipfile
from collections.abc import Iterator

from pixelvae_tf import zips
from pixelvae_tf.data import splits
from pixelvae_tf.data.listing import begins_as_image, is_hidden, kind_of, list_folder, named_as_image, shown
from pixelvae_tf.data.preparation import tar_stream
from pixelvae_tf.data.preparation.problems import Problems
from pixelvae_tf.data.schema import DataError

# The name and the bytes of an image file. The name is its path in the folder or archive.
Record = tuple[str, bytes]

_DEEPEST = 8  # levels of archives in archives
_LARGEST_IMAGE = 256 << 20  # bytes; a damaged header may claim any size
_MARK_LENGTH = 32
_TAR = re.compile(r"\.(tar(\.(gz|bz2|xz))?|tgz|tbz2|txz)$", re.IGNORECASE)
_OTHER_ARCHIVE = re.compile(r"\.(zip|7z|rar|gz|bz2|xz|zst)$", re.IGNORECASE)


def read(path: pathlib.Path, split: str, problems: Problems) -> Iterator[Record]:
    """Yields the images of a split in a folder or archive.

    If a folder contains folders for splits, only the one for this split is read. An archive is read whole.

    Raises:
        DataError: for a file that is not an archive, an archive with several splits, a folder with folders for other
            splits but not for this one, or a problem that may not be skipped.
    """
    if path.is_dir():
        return read_folder(path, split, problems)
    return _of_one_split(read_zip(path, problems) if zipfile.is_zipfile(path) else read_tar(path, problems), path)


def _of_one_split(records: Iterator[Record], path: pathlib.Path) -> Iterator[Record]:
    found: dict[str, str] = {}
    for name, encoded in records:
        for folder in name.split("/")[:-1]:
            split = splits.split_of(folder)
            if split:
                found.setdefault(split, folder)
                break
        if len(found) > 1:
            raise DataError(
                f"{path}: holds folders of several splits ({' and '.join(found.values())}); unpack it and name the "
                "folder as --input, of which the folder of --split is then read"
            )
        yield name, encoded


def read_folder(folder: pathlib.Path, split: str, problems: Problems) -> Iterator[Record]:
    """Yields the images in a folder, or in its folder for the split, sorted by path."""
    named, _ = splits.split_folders(folder)
    if named and split not in named:
        raise DataError(
            f"--input={shown(folder)}: holds the folders {', '.join(map(shown, named.values()))} and none for "
            f"--split={split}; name one of them, or another split"
        )
    listing = list_folder(folder / named.get(split, ""))
    problems.pass_over(listing.passed_over)
    for inner in listing.names:
        name = posixpath.join(named.get(split, ""), inner)
        try:
            yield name, (folder / name).read_bytes()
        except OSError as error:
            problems.report(shown(folder / name), f"cannot be read ({error.strerror})")


def read_zip(path: pathlib.Path, problems: Problems) -> Iterator[Record]:
    """Yields the images in a zip archive in its order. Reports the same problems as `read_tar`."""
    with zips.opened(path) as archive:
        for member in archive.infolist():
            place, name = f"{path}: {shown(member.filename)}", posixpath.normpath(member.filename)
            if _leads_outside(member.filename):
                problems.report(place, "leads outside the archive's tree")
            elif is_hidden(name):
                problems.pass_over({"hidden": 1})
            elif stat.S_ISLNK(member.external_attr >> 16):
                _report_link(place, name, "another file", problems)
            elif member.is_dir():
                continue
            elif reason := zips.refused(member):
                problems.report(place, reason)
            elif not _too_large(member.file_size, place, problems):
                try:
                    with archive.open(member) as content:
                        encoded = _image(name, content, place, problems)
                except zips.ERRORS as error:
                    problems.report(place, f"cannot be read from the archive ({error})")
                    continue
                if encoded is not None:
                    yield name, encoded


def read_tar(path: pathlib.Path, problems: Problems) -> Iterator[Record]:
    """Yields the images in a tar archive, and in the tar archives inside it, in their order.

    Hard links come last, with the content of the files that they name; for them the archive is read a second time.
    Reports as problems: a symbolic link with the name of an image, a member with a path outside the archive's tree,
    and an archive that is cut short.

    Raises:
        DataError: for a file that is not a tar archive, or a problem that may not be skipped.
    """
    links: dict[str, str] = {}
    yield from _read_once(path, problems, links)
    if links:
        yield from _linked(path, problems, links)


def _read_once(path: pathlib.Path, problems: Problems, links: dict[str, str]) -> Iterator[Record]:
    try:
        archive, stream = tar_stream.open_file(path)
    except tar_stream.DAMAGED as error:
        raise DataError(f"{path}: not a tar archive ({error}); check --input") from None
    with stream, archive:
        cut_short = not tar_stream.ends_whole(path)
        if cut_short:
            problems.report(str(path), "cut short: the end of the archive is missing")
        try:
            yield from _members(archive, str(path), problems, links)
        except tar_stream.DAMAGED as error:
            if not cut_short:
                problems.report(str(path), f"damaged or cut short ({error})")


def _linked(path: pathlib.Path, problems: Problems, links: dict[str, str]) -> Iterator[Record]:
    """Reads the archive again and yields the images that hard links name, under the names of the links.

    Args:
        path: the archive.
        problems: receives links whose target is not an image in the archive.
        links: maps the name of each link to its target.
    """
    wanted: dict[str, list[str]] = {}
    for name, target in links.items():
        for _ in links:  # A link may name a link.
            target = links.get(target, target)
        wanted.setdefault(target, []).append(name)
    for name, encoded in _read_once(path, Problems("skip"), {}):
        for link in wanted.pop(name, ()):
            yield link, encoded
        if not wanted:
            return
    for target, names in wanted.items():
        for name in names:
            problems.report(f"{path}: {shown(name)}", f"a hard link to {shown(target)}, which is no image there")


def _members(
    archive: tarfile.TarFile, place: str, problems: Problems, links: dict[str, str], depth: int = 0
) -> Iterator[Record]:
    """Yields the images in an open archive. Adds hard links to images to `links`."""
    while (member := archive.next()) is not None:
        archive.members.clear()  # tarfile keeps all of them: a gigabyte for a million images
        name, member_place = posixpath.normpath(member.name), f"{place}: {shown(member.name)}"
        if _leads_outside(member.name):
            problems.report(member_place, "leads outside the archive's tree")
        elif member.isdir():
            continue
        elif is_hidden(name):
            problems.pass_over({"hidden": 1})
        elif member.islnk() and named_as_image(name):
            links[name] = posixpath.normpath(member.linkname)
        elif not member.isfile():
            _report_link(member_place, name, member.linkname, problems)
        elif _TAR.search(name):
            yield from _nested(archive, member, place, problems, links, depth + 1)
        elif not _too_large(member.size, member_place, problems):
            encoded = _image(name, archive.extractfile(member), member_place, problems)
            if encoded is not None:
                yield name, encoded


def _too_large(size: int, place: str, problems: Problems) -> bool:
    """Reports a member that claims to be larger than any image, and returns whether it does. Damaged members may."""
    if size > _LARGEST_IMAGE:
        problems.report(place, f"claims {size / 1e9:.1f} GB, more than any image")
    return size > _LARGEST_IMAGE


def _image(name: str, content, place: str, problems: Problems) -> bytes | None:
    """Reads a member if it is an image; otherwise counts it and returns None."""
    if named_as_image(name):
        return content.read()
    first = content.read(_MARK_LENGTH)
    if begins_as_image(first):
        return first + content.read()
    if _OTHER_ARCHIVE.search(name):
        problems.report(place, "an archive in the archive, of a kind that is not looked into: unpack it")
    else:
        problems.pass_over({kind_of(name): 1})
    return None


def _report_link(place: str, name: str, target: str, problems: Problems) -> None:
    """Reports or counts a member without content: a symbolic link or a device."""
    if named_as_image(name):
        to = f"to {shown(target)} " if target else ""
        problems.report(place, f"a symbolic link {to}or a device, without an image of its own: archive what it names")
    else:
        problems.pass_over({"link": 1})


def _nested(
    archive: tarfile.TarFile, member: tarfile.TarInfo, place: str, problems: Problems, links: dict[str, str], depth: int
) -> Iterator[Record]:
    """Yields the images of an archive in an archive (ILSVRC2012 has one for each class), under its name."""
    inner_place = f"{place}: {shown(member.name)}"
    if member.issparse() or depth > _DEEPEST:
        reason = "is stored with holes" if member.issparse() else f"lies deeper than {_DEEPEST} archives in each other"
        problems.report(inner_place, f"{reason}: unpack it")
        return
    try:
        inner = tar_stream.open_stream(archive.extractfile(member))
    except tar_stream.DAMAGED as error:
        problems.report(inner_place, f"not a tar archive ({error})")
        return
    folder, inner_links = _TAR.sub("", posixpath.normpath(member.name)), {}
    with inner:
        try:
            for name, encoded in _members(inner, inner_place, problems, inner_links, depth):
                yield f"{folder}/{name}", encoded
        except tar_stream.DAMAGED as error:
            problems.report(inner_place, f"damaged or cut short ({error})")
    links.update({f"{folder}/{name}": f"{folder}/{target}" for name, target in inner_links.items()})


def _leads_outside(name: str) -> bool:
    names = name.replace("\\", "/").split("/")
    return name.startswith(("/", "\\")) or ".." in names or names[0].endswith(":")
