"""Finds a prepared dataset if the user named a folder above or below the right one."""

from __future__ import annotations

import pathlib

_DEPTH = 3  # dataset, size, version


def meant(folder: pathlib.Path, dataset: str) -> pathlib.Path | None:
    """Returns the folder that the user meant if `folder` is inside the dataset or one level too high; or None."""
    if not folder.is_dir():
        return None
    inside = folder.absolute()
    for place in (inside, *inside.parents)[:_DEPTH]:
        if place.name == dataset:
            return place.parent
    below = sorted(place for place in inside.iterdir() if (place / dataset).is_dir())
    return below[0] if below else None


def hint(folder: pathlib.Path, dataset: str) -> str | None:
    """Returns a message that names the right folder, or None if `meant` finds none."""
    right = meant(folder, dataset)
    if right is None:
        return None
    return f"--data_dir={folder}: is not the folder that holds {dataset}; name --data_dir={right}"
