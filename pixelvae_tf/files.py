"""Writes files and folders completely or not at all: under a temporary name, which is then renamed.

A temporary name is `.PROCESS.NAME`, so leftovers of killed processes can be recognized.
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
from collections.abc import Iterable, Mapping
from typing import Any

from pixelvae_tf.errors import UserError

_TEMPORARY = re.compile(r"\.(?P<process>\d+)\.(?P<name>.+)")
# Messages of the system's storage errors. Libraries raise their own errors with these messages.
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
_PROBE, _PROBE_BYTES = "probe", 4096
_BLOCK = 1 << 20


class FileError(UserError):
    """A file or folder is unusable. The message is one line that names it and the remedy."""


def storage_error(error: BaseException) -> str | None:
    """Returns the system's message if a disk or its permissions caused an error, else None.

    HDF5 and TensorFlow raise their own errors, which contain that message.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error)
    return next((words for words in _STORAGE_ERRORS if words in text), None)


def explained(error: BaseException) -> FileError | None:
    """Turns an error of a disk or its permissions into one line that names the file; returns None for others."""
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
    """Turns errors of the disk or the permissions of `path` into FileError.

    Errors that name a file elsewhere pass through: they concern something else.
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


def reserve(path: pathlib.Path, size: int) -> None:
    """Writes this many zero bytes to a new file. Raises OSError if the disk has no room for them.

    HDF5 cannot close a file that the disk refused: it writes many lines, or crashes.
    """
    with path.open("wb") as file:
        for start in range(0, size, _BLOCK):
            file.write(bytes(min(_BLOCK, size - start)))


def _temporary(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f".{os.getpid()}.{path.name}")


def is_temporary(name: str) -> bool:
    """Returns whether a name is a temporary name."""
    return _TEMPORARY.fullmatch(name) is not None


def remove_leftovers(folder: pathlib.Path, name: str | None = None) -> None:
    """Removes temporary files of killed processes, and restores a folder that one of them had moved aside.

    Args:
        folder: the folder to search, without its subfolders.
        name: the file or folder whose leftovers to remove; None for all.
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
    """Returns whether another process has this number. Files with our own number are from an earlier process."""
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
    """Reads a JSON object and checks that it has these entries with these types; `float` accepts any number.

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
    """Returns the SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def unwritable(folder: pathlib.Path) -> str | None:
    """Writes a small file to an existing folder, since permissions do not show a full disk. Returns why that fails."""
    if not os.access(folder, os.W_OK):
        return os.strerror(errno.EACCES)
    remove_leftovers(folder, _PROBE)
    probe = _temporary(folder / _PROBE)
    try:
        probe.write_bytes(bytes(_PROBE_BYTES))
    except OSError as error:
        return error.strerror
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    return None


def check_output(path: str, flag: str) -> pathlib.Path:
    """Returns the path of an output file. Raises FileError if its folder is missing or cannot be written."""
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


def check_not_an_input(output: pathlib.Path, inputs: Iterable[pathlib.Path]) -> None:
    """Raises FileError if an output would replace one of the input files."""
    if output.exists() and output.resolve() in {path.resolve() for path in inputs}:
        raise FileError(f"--output={output}: is one of the input images; name another file")


def check_output_folder(path: str, flag: str) -> pathlib.Path:
    """Returns the path of an output folder. Raises FileError if it is not empty, or its parent cannot be written."""
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
