"""Lists image files, which their names or first bytes mark. Skips hidden files; lists a file once despite links."""

from __future__ import annotations

import collections
import dataclasses
import os
import pathlib
import posixpath
import re

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".png", ".apng", ".webp", ".avif", ".avifs", ".bmp", ".dib"),
    *(".jp2", ".j2k", ".jpf", ".jpx", ".jpc", ".j2c", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
    *(".pfm", ".qoi", ".psd", ".dds", ".ico", ".sgi", ".pcx", ".tga", ".mpo"),
)
# Folders that operating systems and storage devices create.
_LITTER = {"__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found"}
_MARK_LENGTH = 32
_MARKS = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF....WEBP|II[*+]\0|MM\0[*+]|BM....\0\0\0\0|P[1-6]\s+[#\d]|qoif|8BPS"
    rb"|\0\0\0\x0cjP  \r\n|\xffO\xffQ|....ftypavi[fs]|DDS ",
    re.DOTALL,
)


@dataclasses.dataclass(frozen=True)
class Listing:
    """The images under a folder.

    Attributes:
        names: sorted paths relative to the folder, with / between folders.
        passed_over: the number of skipped entries for each reason.
        folders: real paths of the folders that were read, by relative path.
        links: real paths of the images that are links themselves, by name.
        linked: whether the listing followed any link.
    """

    names: tuple[str, ...]
    passed_over: dict[str, int]
    folders: dict[str, str]
    links: dict[str, str]
    linked: bool

    def real_path(self, name: str) -> str:
        """Returns the path of an image after following all links."""
        return self.links.get(name) or posixpath.join(self.folders[posixpath.dirname(name)], posixpath.basename(name))


def is_hidden(path: str) -> bool:
    """Returns whether any name in a relative path is hidden, or litter from an operating system."""
    names = [name for name in path.split("/") if name not in (".", "..")]
    return any(name.startswith(".") or name.lower() in _LITTER for name in names)


def named_as_image(name: str) -> bool:
    """Returns whether a file's name alone marks it as an image."""
    return name.lower().endswith(SUFFIXES)


def begins_as_image(first: bytes) -> bool:
    """Returns whether a file's first 32 bytes mark it as an image."""
    return bool(_MARKS.match(first))


def kind_of(name: str) -> str:
    """Returns the label under which files with this suffix are counted that are not images."""
    return f"no image ({posixpath.splitext(name)[1].lower() or 'without suffix'})"


def shown(path: os.PathLike | str) -> str:
    """Formats a path as one line of valid Unicode, whatever bytes it has."""
    text = os.fspath(path)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def summed_up(passed_over: dict[str, int]) -> str:
    """Formats counts of skipped entries for a message: "3 no image (.txt), 1 broken link"."""
    ordered = sorted(passed_over.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {reason}" for reason, count in ordered)


def list_folder(folder: pathlib.Path) -> Listing:
    """Lists the images under a folder, at any depth and through links.

    Every file and folder counts once, if possible under a path without links. Hard links are separate files. Links
    to a parent of this folder are not followed.
    """
    return _Walk(folder).listing()


class _Walk:
    """Walks over real folders first, then over the folders that links lead to."""

    def __init__(self, root: pathlib.Path):
        self.root, self.real_root = str(root), os.path.realpath(root)
        self.names: list[str] = []
        self.passed_over: collections.Counter[str] = collections.Counter()
        self.real_folders: dict[str, str] = {}  # relative path to real path
        self.visited: set[str] = set()
        self.folder_links: list[str] = []
        self.file_links: list[str] = []

    def listing(self) -> Listing:
        self._walk("", self.real_root)
        linked = bool(self.folder_links or self.file_links) or self.real_root != os.path.abspath(self.root)
        while self.folder_links:
            links, self.folder_links = sorted(self.folder_links), []
            for relative in links:
                self._follow(relative)
        found = Listing(tuple(self.names), {}, self.real_folders, {}, linked)
        taken = {found.real_path(name) for name in self.names} if self.file_links else set()
        for relative in sorted(self.file_links):
            real = os.path.realpath(posixpath.join(self.root, relative))
            if real in taken:
                self.passed_over["second name (link) of an image"] += 1
            elif self._take(relative):
                taken.add(real)
                found.links[relative] = real
        return dataclasses.replace(found, names=tuple(sorted(self.names)), passed_over=dict(self.passed_over))

    def _walk(self, relative: str, real: str) -> None:
        pending = [(relative, real)]
        while pending:
            relative, real = pending.pop()
            if real in self.visited:
                self.passed_over["second name (link) of a folder"] += 1
                continue
            self.visited.add(real)
            self.real_folders[relative] = real
            try:
                with os.scandir(posixpath.join(self.root, relative)) as entries:
                    found = sorted(entries, key=lambda entry: entry.name)
            except OSError:
                self.passed_over["folder that may not be read"] += 1
                continue
            for entry in found:
                self._enter(entry, posixpath.join(relative, entry.name), real, pending)

    def _enter(self, entry: os.DirEntry, path: str, real: str, pending: list[tuple[str, str]]) -> None:
        if is_hidden(entry.name):
            self.passed_over["hidden"] += 1
        elif entry.is_symlink():
            target = posixpath.join(self.root, path)
            if os.path.isdir(target):
                self.folder_links.append(path)
            elif os.path.isfile(target):
                self.file_links.append(path)
            else:
                self.passed_over["broken link"] += 1
        elif entry.is_dir():
            pending.append((path, posixpath.join(real, entry.name)))
        else:
            self._take(path)

    def _follow(self, relative: str) -> None:
        real = os.path.realpath(posixpath.join(self.root, relative))
        if self.real_root.startswith(real.rstrip("/") + "/"):
            self.passed_over["link to a folder around this one"] += 1
        else:
            self._walk(relative, real)

    def _take(self, relative: str) -> bool:
        """Adds a file if it is an image. Returns whether it is."""
        path = posixpath.join(self.root, relative)
        if named_as_image(relative) and os.path.isfile(path):
            self.names.append(relative)
            return True
        try:
            first = b""
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    first = file.read(_MARK_LENGTH)
        except OSError:
            self.passed_over["file that may not be read"] += 1
            return False
        if begins_as_image(first):
            self.names.append(relative)
            return True
        self.passed_over[kind_of(relative)] += 1
        return False
