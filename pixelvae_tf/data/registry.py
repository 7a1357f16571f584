"""Datasets by name."""

from __future__ import annotations

import difflib
import functools
import hashlib
import itertools
import json
import types
from collections.abc import Iterable

import numpy as np

from pixelvae_tf.config import DataConfig
from pixelvae_tf.data import digits, image_folder, mnist, prepared
from pixelvae_tf.data.schema import SPLITS, DataError, DatasetInfo, ImageSource

# Small datasets stay in memory and offer `load`. The others are read on demand and offer `source`.
_IN_MEMORY: dict[str, types.ModuleType] = {"digits": digits, "binarized_mnist": mnist, "mnist": mnist}
_STREAMED: dict[str, types.ModuleType] = {
    "lsun_bedroom": prepared,
    "imagenet64": prepared,
    "image_folder": image_folder,
}


def names() -> list[str]:
    """Returns the names that `--dataset` accepts."""
    return sorted({**_IN_MEMORY, **_STREAMED})


def in_memory(config: DataConfig) -> bool:
    """Returns whether a dataset is small and always kept in memory."""
    return config.dataset in _IN_MEMORY


def describe(config: DataConfig) -> DatasetInfo:
    """Describes a dataset without reading its images (but see `image_folder.describe`).

    Raises:
        DataError: for an unknown name, a dataset that is not prepared, or a size that differs from the configuration.
    """
    info = _module(config).describe(config)
    height, width, _ = info.image_shape
    if config.image_size and (height, width) != (config.image_size, config.image_size):
        raise DataError(f"--image_size={config.image_size}: {config.dataset} has images of {height}x{width}")
    return info


def source(config: DataConfig, split: str) -> ImageSource:
    """Returns the images of a split, for the pipeline to order and read.

    Raises:
        DataError: for an unknown dataset or split, or data that is missing or damaged.
    """
    if split not in SPLITS:
        raise DataError(f"split={split!r}: choose one of {', '.join(SPLITS)}")
    if in_memory(config):
        return _held(load(config, split))
    return _module(config).source(config, split)


def image_names(config: DataConfig, split: str) -> Iterable[str]:
    """Returns a name for each image of a split, in order: its path for `image_folder`, else its number from 0."""
    if config.dataset == "image_folder":
        return image_folder.list_split(config, split)
    return map(str, itertools.count())


def notes(config: DataConfig) -> list[str]:
    """Returns lines for the user to read before training: how the images were found, and what was skipped."""
    module = _module(config)
    return module.notes(config) if hasattr(module, "notes") else []


def fingerprint(config: DataConfig) -> dict[str, dict[str, int | str]]:
    """Identifies the images of each split by their number and a checksum, without reading them.

    The checksum covers names and sizes of image files, or the checksums of prepared shards. The result is empty for
    datasets that are the same everywhere.
    """
    module = _module(config)
    if not hasattr(module, "fingerprint"):
        return {}
    found = {}
    for split, (count, facts) in module.fingerprint(config).items():
        text = json.dumps(facts).encode()
        found[split] = {"images": count, "sha256": hashlib.sha256(text).hexdigest()}
    return found


def training_source(config: DataConfig) -> ImageSource:
    """Returns the training images; with `config.cache` in memory, in shards of the same lengths."""
    if config.cache and not in_memory(config):
        return _kept(config)
    return source(config, "train")


@functools.lru_cache(maxsize=1)
def _kept(config: DataConfig) -> ImageSource:
    return _held(load(config, "train"), source(config, "train").shard_lengths)


def _load_streamed(config: DataConfig, split: str) -> np.ndarray:
    import tensorflow as tf

    found = source(config, split)
    records = found.read(tf.range(len(found.shard_lengths), dtype=tf.int64)).batch(100)
    images = np.empty((sum(found.shard_lengths), *found.image_shape), np.uint8)
    done = 0
    for batch in records.map(found.decode, num_parallel_calls=tf.data.AUTOTUNE).as_numpy_iterator():
        images[done : done + len(batch)] = batch
        done += len(batch)
    return images


def load(config: DataConfig, split: str) -> np.ndarray:
    """Reads all images of a split into memory: (examples, height, width, colors) uint8.

    Raises:
        DataError: for an unknown dataset or split, or data that is missing or damaged.
    """
    if split not in SPLITS:
        raise DataError(f"split={split!r}: choose one of {', '.join(SPLITS)}")
    if in_memory(config):
        return _IN_MEMORY[config.dataset].load(config, split)
    from pixelvae_tf.data.damage import reading

    with reading(config):
        return _load_streamed(config, split)


def load_labelled(config: DataConfig, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads images as `load` does, and their classes: (examples, height, width, colors) and (examples,) uint8.

    Raises:
        DataError: for a dataset without classes, or as `load` does.
    """
    module = _module(config)
    if not hasattr(module, "load_labelled"):
        known = [name for name in names() if hasattr({**_IN_MEMORY, **_STREAMED}[name], "load_labelled")]
        raise DataError(f"--dataset={config.dataset}: its images have no classes; those of {', '.join(known)} have")
    return module.load_labelled(config, split)


def _held(images: np.ndarray, shard_lengths: tuple[int, ...] = ()) -> ImageSource:
    """Makes a source of images in memory. Its records are the numbers of the images."""
    import tensorflow as tf

    # Made outside the graph: a constant inside would be copied into every saved graph.
    with tf.device("CPU"):
        held = tf.constant(images)
    lengths = shard_lengths or (len(images),)
    ends = np.cumsum(lengths)

    def read(numbers):
        shards = tf.data.Dataset.from_tensor_slices((tf.gather(ends - lengths, numbers), tf.gather(ends, numbers)))
        return shards.flat_map(tf.data.Dataset.range)

    return ImageSource(lengths, images.shape[1:], read, lambda numbers: tf.gather(held, numbers))


def _module(config: DataConfig) -> types.ModuleType:
    modules = {**_IN_MEMORY, **_STREAMED}
    if config.dataset not in modules:
        close = difflib.get_close_matches(config.dataset, modules, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise DataError(f"--dataset={config.dataset}: unknown; {hint}known: {', '.join(names())}")
    return modules[config.dataset]
