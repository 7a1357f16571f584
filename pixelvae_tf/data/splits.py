"""Assigns images to splits: by folders with the usual names, else by a hash of each image's path."""

from __future__ import annotations

import bisect
import hashlib
import os
import pathlib
import re
import unicodedata
from collections.abc import Sequence

from pixelvae_tf.data.listing import Listing, is_hidden, named_as_image, shown
from pixelvae_tf.data.schema import SPLITS, DataError

_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
# Also train_64x64, val_data, test-images.
_NAMED = re.compile(rf"({'|'.join(_NAMES)})([_-](data|set|images|\d+x\d+))?", re.IGNORECASE)
_SHARES = (0.90, 0.95)  # the hashes, from 0 to 1, at which validation and test begin
_WRAPPERS = 3  # most folders to descend that hold nothing but one folder, as unpacked archives do


def split_of(folder: str) -> str | None:
    """Returns the split that a folder's name stands for, or None."""
    found = _NAMED.fullmatch(folder)
    return _NAMES[found[1].lower()] if found else None


def split_folders(root: pathlib.Path) -> tuple[dict[str, str], list[str]]:
    """Finds the folders of splits in a folder, or in the only folder inside it.

    Returns:
        The folder of each split, relative to `root`: none, or those of two splits or more, one of them `train` or
        `validation`. Then the names of other entries beside a folder that is named after a split.

    Raises:
        DataError: if two folders stand for one split.
    """
    place = ""
    for _ in range(_WRAPPERS):
        found: dict[str, str] = {}
        folders, images = _entries(root / place)
        for name in folders:
            split = split_of(name)
            if split in found:
                raise DataError(
                    f"{shown(root / place)}: both {shown(found[split])} and {shown(name)} stand for {split}; rename one"
                )
            if split:
                found[split] = name
        others = [name for name in folders if name not in found.values()] + images[:1]
        if found or images or len(folders) != 1:
            paths = {split: os.path.join(place, name) for split, name in found.items()}
            if len(found) > 1 and set(found) != {"validation", "test"}:
                return paths, others
            return {}, [*found.values(), *others] if found and (others or len(found) > 1) else []
        place = os.path.join(place, folders[0])
    return {}, []


def _entries(folder: pathlib.Path) -> tuple[list[str], list[str]]:
    """Returns the names of the folders and of the images in a folder."""
    try:
        names = sorted(name for name in os.listdir(folder) if not is_hidden(name))
    except OSError:
        return [], []
    folders = [name for name in names if (folder / name).is_dir()]
    return folders, [name for name in names if named_as_image(name) and name not in folders]


def check_apart(listings: dict[str, Listing]) -> None:
    """Raises DataError if links put a training image into another split as well."""
    if not any(listing.linked for listing in listings.values()):
        return
    train = {listings["train"].real_path(name): name for name in listings["train"].names}
    for split, listing in listings.items():
        shared = [name for name in listing.names if split != "train" and listing.real_path(name) in train]
        if shared:
            raise DataError(
                f"{len(shared)} images of {split} are links to training images, or the other way round: "
                f"{shown(shared[0])} is {shown(listing.real_path(shared[0]))}; an image belongs to one split"
            )


def by_hash(names: Sequence[str], shares: tuple[float, float] = _SHARES) -> dict[str, list[str]]:
    """Splits names by their hashes, which are the same on every machine and in every Unicode form.

    Args:
        names: relative paths.
        shares: the hashes, from 0 to 1, at which validation and test begin; 1 for no test images.

    Returns:
        The sorted names of each split. A split that has a share gets at least one name: the one with the nearest hash.
    """
    hashes = {name: _hash(name) for name in names}
    ordered = sorted(names, key=hashes.get)
    positions = [hashes[name] for name in ordered]
    validation, test = (bisect.bisect_left(positions, share) for share in shares)
    test = min(max(test, 2), len(names) - (shares[1] < 1))
    validation = min(max(validation, 1), test - 1)
    divided = (ordered[:validation], ordered[validation:test], ordered[test:])
    return {split: sorted(names) for split, names in zip(SPLITS, divided, strict=True)}


def is_natural(names: Sequence[str], by_split: dict[str, list[str]]) -> bool:
    """Returns whether each name's split follows from its hash alone, so that added names cannot move it."""
    return all(
        (_hash(name) >= _SHARES[0]) == (split != "train") and (_hash(name) >= _SHARES[1]) == (split == "test")
        for split, members in by_split.items()
        for name in members
    )


def _hash(name: str) -> float:
    """Hashes a name to [0, 1). Composed and decomposed letters count as equal: file systems convert them."""
    encoded = unicodedata.normalize("NFC", name).encode(errors="surrogateescape")
    return int(hashlib.md5(encoded).hexdigest()[:16], 16) / 2**64
