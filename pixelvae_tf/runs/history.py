"""The validations of a run: a file with one JSON object per line."""

from __future__ import annotations

import json
import math
import pathlib

from pixelvae_tf import files
from pixelvae_tf.files import FileError


def read(path: pathlib.Path) -> list[dict]:
    """Reads all entries; none if there is no file. Raises FileError for a damaged line."""
    entries, damaged = _parsed(path)
    if damaged:
        raise _refusal(path, damaged[0])
    return entries


def entries(path: pathlib.Path) -> list[dict]:
    """Reads the entries of all intact lines."""
    return _parsed(path)[0]


def write(path: pathlib.Path, entries: list[dict]) -> None:
    """Replaces the file by one with these entries."""
    with files.replacing(path) as temporary:
        temporary.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def mend(path: pathlib.Path) -> str | None:
    """Drops a damaged last line, which a lost disk block can cause, and repeated lines.

    Returns:
        A message about what was dropped, or None.

    Raises:
        FileError: for a damaged line before the last.
    """
    entries, damaged = _parsed(path)
    by_step = {entry["step"]: entry for entry in entries}
    doubled = len(entries) - len(by_step)
    if not damaged and not doubled:
        return None
    # Every line is either an entry or damaged, so their total is the number of the last line.
    if damaged and damaged[0] < len(entries) + len(damaged):
        raise _refusal(path, damaged[0])
    write(path, [by_step[step] for step in sorted(by_step)])
    dropped = [*(["its damaged last line"] if damaged else []), *([f"{doubled} doubled lines"] if doubled else [])]
    return f"{path}: {' and '.join(dropped)} dropped"


def _refusal(path: pathlib.Path, number: int) -> FileError:
    return FileError(f"{path}: line {number} is damaged; restore or remove it")


def _parsed(path: pathlib.Path) -> tuple[list[dict], list[int]]:
    """Returns the entries, and the numbers of the damaged lines."""
    if not path.exists():
        return [], []
    entries, damaged = [], []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            entry = json.loads(line)
            whole = type(entry["step"]) is int and math.isfinite(entry["bound"])
        except (ValueError, TypeError, KeyError, RecursionError):
            whole = False
        if whole:
            entries.append(entry)
        else:
            damaged.append(number)
    return entries, damaged
