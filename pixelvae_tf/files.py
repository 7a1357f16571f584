"""Files and folders that are either whole or absent: written under a temporary name, then renamed.

A temporary name is `.PROCESS.NAME`, so that what a killed process left is told from everything else.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import re
import shutil
from collections.abc import Mapping
from typing import Any

from pixelvae_tf.errors import UserError

_TEMPORARY = re.compile(r"\.(?P<process>\d+)\.(?P<name>.+)")
# Errors of the place where a file lies, by the system's words for them: libraries give those words alone.
_STORAGE_ERRORS = tuple(
    os.strerror(number)
    for number in (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EIO,
        errno.EFBIG,
        errno.EACCES,
        errno.EPERM,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.ENAMETOOLONG,
        errno.ESTALE,
    )
)
_PROBE_BYTES = 4096
_BLOCK = 1 << 20


class FileError(UserError):
    """An unusable file or folder; the message is one line that names it and the remedy."""


def storage_error(error: BaseException) -> str | None:
    """What a disk or its permissions are to blame for, in the system's words; None for an error of another kind.

    HDF5 and TensorFlow raise errors of their own, with those words in the message.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error)
    return next((words for words in _STORAGE_ERRORS if words in text), None)


def explained(error: BaseException) -> FileError | None:
    """An error of a disk or its permissions as one line that names the file; None for an error of another kind."""
    reason = storage_error(error)
    if reason is None:
        return None
    name = getattr(error, "filename", None)
    if name is None:
        # TensorFlow: "PATH; No space left on device".
        found = re.search(rf"(/[^\s;]+); {re.escape(reason)}", str(error))
        name = found[1] if found else "a file"
    return FileError(f"{os.fsdecode(name)}: {reason}; free space, restore the file or choose another place")


@contextlib.contextmanager
def writing(path: pathlib.Path):
    """Turns errors of the disk that `path` is written to, and of its permissions, into FileError.

    Errors that name a file elsewhere pass: something else was read or written.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason, name = storage_error(error), getattr(error, "filename", None)
        if reason is None or (name is not None and path.parent not in pathlib.Path(os.fsdecode(name)).parents):
            raise
        raise FileError(f"{path}: cannot be written ({reason}); free space or choose another place") from None


@contextlib.contextmanager
def replacing(path: pathlib.Path):
    """Yields a temporary path beside `path` with the same suffix; renames it to `path` if the block succeeds.

    Raises:
        FileError: if the disk or its permissions refuse the file.
    """
    temporary = _temporary(path)
    try:
        with writing(path):
            yield temporary
            os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path: pathlib.Path):
    """Yields an empty folder beside `path`; it takes the place of `path` if the block succeeds.

    A file system replaces a folder in one step only if the old one is empty. So this moves an earlier folder aside
    first, and between the two steps there is no folder at `path`. `remove_leftovers` restores it after a kill there.

    Raises:
        FileError: if the disk or its permissions refuse the folder.
    """
    temporary = _temporary(path)
    earlier = temporary.with_name(f"{temporary.name}.earlier")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with writing(path):
            temporary.mkdir(parents=True)
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


def _temporary(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f".{os.getpid()}.{path.name}")


def is_temporary(name: str) -> bool:
    """Whether a name is one that files have here while they are written."""
    return _TEMPORARY.fullmatch(name) is not None


def remove_leftovers(folder: pathlib.Path, name: str | None = None) -> None:
    """Removes what killed processes left under temporary names, and puts back a folder that one had moved aside.

    Args:
        folder: to look in, not below.
        name: of the one file or folder whose leftovers are meant; None for all.
    """
    try:
        there = sorted(folder.iterdir())
    except OSError:
        return
    for path in there:
        found = _TEMPORARY.fullmatch(path.name)
        meant = found and name in (None, found["name"], found["name"].removesuffix(".earlier"))
        if not meant or _is_alive(int(found["process"])):
            continue
        with contextlib.suppress(OSError):
            place = path.with_name(found["name"].removesuffix(".earlier"))
            if path.is_dir() and path.name.endswith(".earlier") and not place.exists():
                path.rename(place)
            elif path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    """Whether another process of this number is there; what has our own number is of a former one."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


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
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(
            f"{path}: not readable as JSON ({error}); restore it, or start again in another folder"
        ) from None


def read_record(path: pathlib.Path, kinds: Mapping[str, type]) -> dict[str, Any]:
    """Reads a JSON object that has these entries of these types, `float` for any number, and perhaps others.

    Raises:
        FileError: for a missing or damaged file; the message names the entry.
    """
    value = read_json(path)
    for name, kind in kinds.items():
        found = value.get(name) if isinstance(value, dict) else None
        if isinstance(found, bool) or not isinstance(found, (int, float) if kind is float else kind):
            raise FileError(f"{path}: damaged (its {name!r} is missing or no {kind.__name__}); restore it")
    return value


def sha256(path: pathlib.Path) -> str:
    """Checksum of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def unwritable(folder: pathlib.Path) -> str | None:
    """Why a folder that is there does not take a small file, or None; permissions alone do not tell of a full disk."""
    if not os.access(folder, os.W_OK):
        return os.strerror(errno.EACCES)
    probe = folder / f".{os.getpid()}.probe"
    try:
        probe.write_bytes(bytes(_PROBE_BYTES))
    except OSError as error:
        return error.strerror
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    return None


def check_output(path: str, flag: str) -> pathlib.Path:
    """The path of an output file. Raises FileError if its folder is missing or does not take a file."""
    if not path:
        raise FileError(f"--{flag} is empty: name a file")
    output = pathlib.Path(path)
    if output.is_dir():
        raise FileError(f"--{flag}={path}: this is a folder; name a file in it")
    if not output.parent.is_dir():
        raise FileError(f"--{flag}={path}: the folder {output.parent} does not exist; create it first")
    if reason := unwritable(output.parent):
        raise FileError(f"--{flag}={path}: the folder {output.parent} may not be written ({reason})")
    remove_leftovers(output.parent, output.name)
    return output


def check_output_folder(path: str, flag: str) -> pathlib.Path:
    """The path of a folder to write: a new one, or an empty one. Raises FileError for another, or no place for it."""
    if not path:
        raise FileError(f"--{flag} is empty: name a folder")
    output = pathlib.Path(path).resolve()
    remove_leftovers(output.parent, output.name)
    if output.exists() and not output.is_dir():
        raise FileError(f"--{flag}={path}: is a file; name a folder")
    if output.is_dir() and next(output.iterdir(), None) is not None:
        raise FileError(f"--{flag}={path}: is not empty; name a new folder")
    if not output.parent.is_dir():
        raise FileError(f"--{flag}={path}: the folder {output.parent} does not exist; create it first")
    if reason := unwritable(output.parent):
        raise FileError(f"--{flag}={path}: the folder {output.parent} may not be written ({reason})")
    return output
