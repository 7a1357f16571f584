"""Files and folders that are either whole or absent: written under a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
from typing import Any

from pixelvae_tf.errors import UserError


class FileError(UserError):
    """An unusable file or folder; the message is one line that names it and the remedy."""


@contextlib.contextmanager
def replacing(path: pathlib.Path):
    """Yields a temporary path beside `path` with the same suffix; renames it to `path` if the block succeeds."""
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path: pathlib.Path):
    """Yields an empty folder beside `path`; it takes the place of `path` if the block succeeds.

    A file system replaces a folder in one step only if the old one is empty. So this moves an earlier folder aside
    first, and between the two steps there is no folder at `path`.
    """
    temporary, earlier = (path.with_name(f".{os.getpid()}.{path.name}{ending}") for ending in ("", ".earlier"))
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if path.exists():
            os.rename(path, earlier)
        try:
            os.rename(temporary, path)
        except OSError:
            if earlier.exists():
                os.rename(earlier, path)
            raise
        shutil.rmtree(earlier, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes one JSON value, indented."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")


def read_json(path: pathlib.Path) -> Any:
    """Reads one JSON value. Raises FileError for a missing or damaged file."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise FileError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise FileError(
            f"{path}: not readable as JSON ({error}); restore it, or start again in another folder"
        ) from None


def sha256(path: pathlib.Path) -> str:
    """Checksum of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_output(path: str, flag: str) -> pathlib.Path:
    """The path of an output file. Raises FileError if its folder is missing or not writable."""
    if not path:
        raise FileError(f"--{flag} is empty: name a file")
    output = pathlib.Path(path)
    if output.is_dir():
        raise FileError(f"--{flag}={path}: this is a folder; name a file in it")
    if not output.parent.is_dir():
        raise FileError(f"--{flag}={path}: the folder {output.parent} does not exist; create it first")
    if not os.access(output.parent, os.W_OK):
        raise FileError(f"--{flag}={path}: the folder {output.parent} may not be written")
    return output
