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

# Small ones are kept in memory and offer `load`; the others are read as they are needed and offer `source`.
_IN_MEMORY: dict[str, types.ModuleType] = {"digits": digits, "binarized_mnist": mnist, "mnist": mnist}
_STREAMED: dict[str, types.ModuleType] = {
    "lsun_bedroom": prepared,
    "imagenet64": prepared,
    "image_folder": image_folder,
}


def names() -> list[str]:
    """The names that `--dataset` takes."""
    return sorted({**_IN_MEMORY, **_STREAMED})


def in_memory(config: DataConfig) -> bool:
    """Whether a dataset is small and always kept in memory."""
    return config.dataset in _IN_MEMORY


def describe(config: DataConfig) -> DatasetInfo:
    """The facts of a dataset, without reading its images.

    Raises:
        DataError: for an unknown name, a dataset that is not prepared, or another size than the configuration's.
    """
    info = _module(config).describe(config)
    height, width, _ = info.image_shape
    if config.image_size and (height, width) != (config.image_size, config.image_size):
        raise DataError(f"--image_size={config.image_size}: {config.dataset} has images of {height}x{width}")
    return info


def source(config: DataConfig, split: str) -> ImageSource:
    """The images of a split, for the pipeline to order and read.

    Raises:
        DataError: for an unknown dataset or split, or data that is missing or damaged.
    """
    if split not in SPLITS:
        raise DataError(f"split={split!r}: choose one of {', '.join(SPLITS)}")
    if in_memory(config):
        return _held(load(config, split))
    return _module(config).source(config, split)


def image_names(config: DataConfig, split: str) -> Iterable[str]:
    """What to call the images of a split, in their order: paths in a folder of images, elsewhere numbers from 0."""
    if config.dataset == "image_folder":
        return image_folder.list_split(config, split)
    return map(str, itertools.count())


def notes(config: DataConfig) -> list[str]:
    """Lines that a user should read before a training: how the images were found, and what was passed over."""
    module = _module(config)
    return module.notes(config) if hasattr(module, "notes") else []


def fingerprint(config: DataConfig) -> dict[str, dict[str, int | str]]:
    """What tells the images of one run from those of another, without reading them: by split, how many and a checksum.

    It is made of names and sizes of image files, or of the checksums of prepared shards; empty for the datasets that
    are the same everywhere.
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
    """The training images; in memory where the configuration asks for it, in shards of the same lengths."""
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
    """All images of a split, (examples, height, width, colors) uint8, in memory.

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
    """Images of a split as `load` gives them, and their classes: (examples, height, width, colors), (examples,) uint8.

    Raises:
        DataError: for a dataset without classes, or as `load`.
    """
    module = _module(config)
    if not hasattr(module, "load_labelled"):
        known = [name for name in names() if hasattr({**_IN_MEMORY, **_STREAMED}[name], "load_labelled")]
        raise DataError(f"--dataset={config.dataset}: its images have no classes; those of {', '.join(known)} have")
    return module.load_labelled(config, split)


def _held(images: np.ndarray, shard_lengths: tuple[int, ...] = ()) -> ImageSource:
    """Images in memory as a source, whose records are their numbers."""
    import tensorflow as tf

    # Held outside the graph, where a constant would be copied into every saved one.
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
