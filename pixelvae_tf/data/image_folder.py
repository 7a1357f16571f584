"""The user's own images: any files that Pillow reads under one folder, cropped and resized as they are read.

Where the folder has the subfolders `train` and `validation` (and perhaps `test`), those are the splits. Otherwise
a hash of each image's path decides: 90% train, 5% validation, 5% test, on every machine and whatever is added.
"""

from __future__ import annotations

import bisect
import functools
import hashlib
import pathlib

import numpy as np

from pixelvae_tf.config import DataConfig
from pixelvae_tf.data import image_files
from pixelvae_tf.data.schema import SPLITS, DataError, DatasetInfo, ImageSource

_SHARES = (0.90, 0.95)  # where validation and test begin, of the hashes from 0 to 1
_COLORS = 3


def describe(config: DataConfig) -> DatasetInfo:
    """The facts of the folder, from the names in it.

    Raises:
        DataError: where the folder is missing or holds too few images, or no size is given.
    """
    if not config.image_size:
        raise DataError("--image_size=0: image_folder needs the height and width to resize to, for example 64")
    splits = _splits(_folder(config))
    counts = {split: len(splits[split]) for split in SPLITS}
    return DatasetInfo(config.dataset, (config.image_size, config.image_size, _COLORS), 256, counts)


def list_split(config: DataConfig, split: str) -> list[str]:
    """Paths of a split's images in the order in which they are read, relative to the folder."""
    return list(_splits(_folder(config))[split])


def source(config: DataConfig, split: str) -> ImageSource:
    """The images of a split; a record is the path of a file."""
    import tensorflow as tf

    info = describe(config)
    folder = _folder(config)
    files = tuple(folder / name for name in _splits(folder)[split])
    names = tf.constant([str(file) for file in files])

    def decode_all(paths: np.ndarray) -> np.ndarray:
        places = (pathlib.Path(path.decode()) for path in paths)
        return np.stack([image_files.read(place, info.image_shape, info.pixel_levels, resize=True) for place in places])

    def decode(records):
        return tf.numpy_function(decode_all, [records], tf.uint8)

    def read(numbers):
        return tf.data.Dataset.from_tensor_slices(names).repeat(tf.size(numbers, tf.int64))

    return ImageSource((len(files),), info.image_shape, read, decode, files)


def _folder(config: DataConfig) -> pathlib.Path:
    if not config.data_dir:
        raise DataError("--data_dir is empty: name the folder of your images")
    folder = pathlib.Path(config.data_dir).expanduser()
    if not folder.is_dir():
        raise DataError(f"--data_dir={config.data_dir}: {'is a file' if folder.exists() else 'no such folder'}")
    return folder


@functools.lru_cache(maxsize=4)
def _splits(folder: pathlib.Path) -> dict[str, list[str]]:
    """Paths of the images of each split, relative to the folder, sorted."""
    names = image_files.list_images(folder)
    if not names:
        raise DataError(f"--data_dir={folder}: holds no images (files whose names end in .jpg, .png and the like)")
    by_folder = {split: [name for name in names if name.startswith(f"{split}/")] for split in SPLITS}
    if by_folder["train"] and by_folder["validation"]:
        return {**by_folder, "test": by_folder["test"] or by_folder["validation"]}
    return _split_by_hash(folder, names)


def _split_by_hash(folder: pathlib.Path, names: list[str]) -> dict[str, list[str]]:
    if len(names) < len(SPLITS):
        raise DataError(f"--data_dir={folder}: holds {len(names)} images; the splits need at least {len(SPLITS)}")
    hashes = {name: int(hashlib.md5(name.encode()).hexdigest()[:16], 16) / 2**64 for name in names}
    ordered = sorted(names, key=hashes.get)
    positions = [hashes[name] for name in ordered]
    validation, test = (bisect.bisect_left(positions, share) for share in _SHARES)
    # At least one image in each, however few there are.
    test = min(max(test, 2), len(names) - 1)
    validation = min(max(validation, 1), test - 1)
    parts = (ordered[:validation], ordered[validation:test], ordered[test:])
    return {split: sorted(part) for split, part in zip(SPLITS, parts, strict=True)}
