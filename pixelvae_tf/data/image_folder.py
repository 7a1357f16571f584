"""The user's own images: any files under one folder that Pillow can read, cropped and resized on the fly.

Subfolders with the usual names of splits define the splits. Without them a hash of each image's path decides: 90%
train, 5% validation, 5% test. See `splits`.

For a model of classes, the subfolders of the folder (or of each split's folder) are the classes, in the order of their
names, as in Keras's `image_dataset_from_directory`. Deeper folders belong to their class.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from pixelvae_tf.config import DataConfig
from pixelvae_tf.data import image_files, splits
from pixelvae_tf.data.listing import list_folder, shown, summed_up
from pixelvae_tf.data.python_stage import python_stage
from pixelvae_tf.data.schema import SPLITS, Classes, DataError, DatasetInfo, ImageSource

_COLORS = 3
_WITHOUT_VALIDATION = (0.95, 1.0)  # shares for a folder train without a folder validation; no test


@dataclasses.dataclass(frozen=True)
class FoundImages:
    """The images in a folder.

    Attributes:
        names: sorted paths of the images of each split, relative to the folder.
        notes: lines that tell the user how the splits were made and which files were skipped.
        places: the folders of splits, relative to the folder, if there are any.
    """

    names: dict[str, list[str]]
    notes: tuple[str, ...]
    places: tuple[str, ...] = ()


def describe(config: DataConfig) -> DatasetInfo:
    """Describes the dataset from the names in its folder; with on_error="skip" it also decodes every image.

    Raises:
        DataError: if the folder is missing or holds too few images, or no size is given.
    """
    if not config.image_size:
        raise DataError("--image_size=0: image_folder needs the height and width to resize to, for example 64")
    counts = {split: len(_usable(_folder(config), split, config.on_error)[0]) for split in SPLITS}
    return DatasetInfo(config.dataset, (config.image_size, config.image_size, _COLORS), 256, counts)


def list_split(config: DataConfig, split: str) -> list[str]:
    """Returns the paths of a split's images relative to the folder, in reading order."""
    return list(_usable(_folder(config), split, config.on_error)[0])


def notes(config: DataConfig) -> list[str]:
    """Returns lines for the user to read before training: the size of each split, and which files were skipped."""
    folder = _folder(config)
    found = _splits(folder)
    counts = ", ".join(f"{len(list_split(config, split)):,} {split}" for split in SPLITS)
    lines = [f"images in {shown(folder)}: {counts}", *found.notes]
    unusable = {name: why for split in SPLITS for name, why in _usable(folder, split, config.on_error)[1]}
    if unusable:
        name, reason = next(iter(unusable.items()))
        lines.append(f"left out {len(unusable)} unusable images, the first {shown(name)}: {reason}")
    return lines


def check(data_dir: str, on_image: Callable[[], Any] = lambda: None) -> dict[str, Any]:
    """Reads all images in a folder and reports what training would find.

    Args:
        data_dir: the folder.
        on_image: called for every image.

    Returns:
        `images`: the number in each split; `notes`: how the splits were made; `unusable`: names with the reason.

    Raises:
        DataError: if there is no such folder, or too few images.
    """
    folder = _folder(DataConfig("image_folder", data_dir))
    found, unusable = _splits(folder), {}
    for name, reason in image_files.problems(
        folder, sorted({name for split in found.names.values() for name in split})
    ):
        on_image()
        if reason is not None:
            unusable[shown(name)] = reason
    return {
        "images": {split: len(names) for split, names in found.names.items()},
        "notes": list(found.notes),
        "unusable": unusable,
    }


def fingerprint(config: DataConfig) -> dict[str, tuple[int, list]]:
    """Returns for each split the number of images, and their names and sizes in bytes."""
    folder = _folder(config)
    names = {split: list_split(config, split) for split in SPLITS}
    return {split: (len(given), [(name, _size(folder / name)) for name in given]) for split, given in names.items()}


def _size(path: pathlib.Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def classes(config: DataConfig) -> Classes:
    """Returns the sorted subfolders with images.

    Raises:
        DataError: for an image outside of class folders, or a class without training images.
    """
    by_split = {split: list(_class_folders(config, split).values()) for split in SPLITS}
    counts = collections.Counter(by_split["train"])
    for split, found in by_split.items():
        for name in sorted(set(found) - set(counts)):
            raise DataError(
                f"--data_dir={shown(config.data_dir)}: {split} has the class {shown(name)}, and train has not"
            )
    return Classes(tuple(sorted(counts)), tuple(counts[name] for name in sorted(counts)))


@functools.lru_cache(maxsize=4)
def _class_folders(config: DataConfig, split: str) -> dict[str, str]:
    """Maps the path of each image of a split to its class. Raises DataError for an image outside of class folders."""
    found = _splits(_folder(config))
    outer, classes = _outer_folder(found, split), {}
    for name in list_split(config, split):
        inner = name.removeprefix(outer).split("/")
        if len(inner) < 2:
            raise DataError(
                f"--data_dir={shown(config.data_dir)}: {shown(name)} lies in no folder of a class; a model of classes "
                "(--num_classes) needs each image in the folder of its class"
            )
        classes[name] = inner[0]
    return classes


def _outer_folder(found: FoundImages, split: str) -> str:
    """Returns the folder above the class folders, with a / at its end: a split's folder, or one around all images."""
    for place in found.places:
        if all(name.startswith(f"{place}/") for name in found.names[split]):
            return f"{place}/"
    names = [name for part in found.names.values() for name in part]
    outer = os.path.commonpath([os.path.dirname(name) for name in names])
    # A folder that directly contains images is itself a class.
    return f"{outer}/" if outer and all("/" in name.removeprefix(f"{outer}/") for name in names) else ""


def source(config: DataConfig, split: str, labelled: bool = False) -> ImageSource:
    """Returns the images of a split; a record is the number of a file."""
    import tensorflow as tf

    info = describe(config)
    folder = _folder(config)
    listed = list_split(config, split)
    files = tuple(folder / name for name in listed)
    # File names are bytes in any encoding.
    names = tf.constant([os.fsencode(file) for file in files])

    def decode_all(paths: np.ndarray) -> np.ndarray:
        places = (pathlib.Path(os.fsdecode(path)) for path in paths)
        try:
            return np.stack([image_files.read(place, info.image_shape, 256, resize=True) for place in places])
        except DataError as error:
            raise DataError(f"{error}, or leave out all such images with --on_error=skip") from None

    def read(numbers):
        return tf.data.Dataset.range(len(files)).repeat(tf.size(numbers, tf.int64))

    def decode(numbers):
        return stage(tf.gather(names, numbers))

    stage, labels = python_stage(decode_all, info.image_shape), None
    if labelled:
        order, of_name = classes(config).names, _class_folders(config, split)
        held = tf.constant([order.index(of_name[name]) for name in listed], tf.int32)

        def labels(numbers):
            return tf.gather(held, numbers)

    return ImageSource((len(files),), info.image_shape, read, decode, files, labels)


def _folder(config: DataConfig) -> pathlib.Path:
    if not config.data_dir:
        raise DataError("--data_dir is empty: name the folder of your images")
    folder = pathlib.Path(config.data_dir).expanduser()
    if not folder.is_dir():
        if not folder.exists():
            raise DataError(f"--data_dir={shown(config.data_dir)}: no such folder")
        raise DataError(f"--data_dir={shown(config.data_dir)}: is a file; unpack archives, and name a folder of images")
    return folder


def _usable(folder: pathlib.Path, split: str, on_error: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Returns the names of a split's usable images, then the unusable ones with the reason (with "skip")."""
    names = _splits(folder).names[split]
    if on_error == "fail":
        return names, []
    checked = _checked(folder, tuple(names))
    usable = [name for name, reason in checked if reason is None]
    if not usable:
        raise DataError(f"--data_dir={shown(folder)}: none of the {len(names)} images of {split} can be read")
    return usable, [(name, reason) for name, reason in checked if reason is not None]


@functools.lru_cache(maxsize=4)
def _checked(folder: pathlib.Path, names: tuple[str, ...]) -> list[tuple[str, str | None]]:
    return list(image_files.problems(folder, names))


@functools.lru_cache(maxsize=4)
def _splits(folder: pathlib.Path) -> FoundImages:
    named, others = splits.split_folders(folder)
    if named:
        return _of_folders(folder, named, others)
    listing = list_folder(folder)
    if not listing.names:
        raise image_files.no_images(f"--data_dir={shown(folder)}", listing.passed_over)
    names = _split_by_hash(folder, list(listing.names))
    notes = _passed_over(listing.passed_over)
    if others:
        listed = ", ".join(map(shown, others[:5]))
        notes.append(
            f"the folders and images {listed} do not make splits: all images together were split by a hash of their "
            "paths; for splits of your own name the folders train, validation and test, and keep others elsewhere"
        )
    if not splits.is_natural(listing.names, names):
        notes.append("so few images that one may change its split when others are added, until there are about 100")
    return FoundImages(names, tuple(notes))


def _of_folders(folder: pathlib.Path, named: dict[str, str], others: list[str]) -> FoundImages:
    """Lists images in folders that are named after splits; one of them is train."""
    listings = {split: list_folder(folder / place) for split, place in named.items()}
    for split, listing in listings.items():
        if not listing.names:
            raise image_files.no_images(shown(folder / named[split]), listing.passed_over)
    splits.check_apart(listings)
    names = {split: [f"{named[split]}/{name}" for name in listings[split].names] for split in listings}
    notes = [f"splits by folders: {', '.join(f'{split} is {shown(place)}' for split, place in named.items())}"]
    if "validation" not in names:
        if len(names["train"]) < 2:
            raise DataError(f"{shown(folder)}: has no folder for validation, and one training image; add the folder")
        divided = splits.by_hash(names["train"], _WITHOUT_VALIDATION)
        names |= {split: divided[split] for split in ("train", "validation")}
        notes.append("no folder for validation: a twentieth of train is held out, by a hash of the paths")
    if "test" not in names:
        names["test"] = names["validation"]
        notes.append("no folder for test: the validation images stand in")
    if others:
        notes.append(f"not in the folder of a split, and left out: {', '.join(map(shown, others[:5]))}")
    passed_over = sum((collections.Counter(found.passed_over) for found in listings.values()), collections.Counter())
    return FoundImages(names, (*notes, *_passed_over(passed_over)), tuple(named.values()))


def _passed_over(counts: dict[str, int]) -> list[str]:
    return [f"passed over: {summed_up(counts)}"] if counts else []


def _split_by_hash(folder: pathlib.Path, names: list[str]) -> dict[str, list[str]]:
    if len(names) < len(SPLITS):
        raise DataError(
            f"--data_dir={shown(folder)}: holds {len(names)} images; the splits need at least {len(SPLITS)}"
        )
    return splits.by_hash(names)
