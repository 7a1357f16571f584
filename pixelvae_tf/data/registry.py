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
from pixelvae_tf.data.schema import SPLITS, Classes, DataError, DatasetInfo, ImageSource

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


def classes(config: DataConfig) -> Classes:
    """Returns the classes of a dataset. Raises DataError if it has none, or its data is missing or damaged."""
    module = _module(config)
    if not hasattr(module, "classes"):
        known = [name for name in names() if hasattr({**_IN_MEMORY, **_STREAMED}[name], "classes")]
        raise DataError(f"--dataset={config.dataset}: its images have no classes; those of {', '.join(known)} have")
    return module.classes(config)


def classes_of_model(config: DataConfig, num_classes: int) -> Classes | None:
    """Returns the classes of a dataset, or None if `num_classes` is 0. Raises DataError if the numbers differ."""
    if not num_classes:
        return None
    found = classes(config)
    if len(found.names) != num_classes:
        few = ", ".join(found.names[:5]) + (", ..." if len(found.names) > 5 else "")
        raise DataError(
            f"--num_classes={num_classes}: {config.dataset} has {len(found.names)} ({few}); use --num_classes="
            f"{len(found.names)}"
        )
    return found


def source(config: DataConfig, split: str, labelled: bool = False) -> ImageSource:
    """Returns the images of a split, for the pipeline to order and read.

    Raises:
        DataError: for an unknown dataset or split, missing or damaged data, or labels of a dataset without classes.
    """
    if split not in SPLITS:
        raise DataError(f"split={split!r}: choose one of {', '.join(SPLITS)}")
    if labelled:
        classes(config)
    if in_memory(config):
        return _held(*load_labelled(config, split)) if labelled else _held(load(config, split))
    module = _module(config)
    return module.source(config, split, labelled=True) if labelled else module.source(config, split)


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


def training_source(config: DataConfig, labelled: bool = False) -> ImageSource:
    """Returns the training images; with `config.cache` in memory, in shards of the same lengths."""
    if config.cache and not in_memory(config):
        return _kept(config, labelled)
    return source(config, "train", labelled)


@functools.lru_cache(maxsize=1)
def _kept(config: DataConfig, labelled: bool) -> ImageSource:
    from pixelvae_tf.data.damage import reading

    with reading(config):
        found = source(config, "train", labelled)
        return _held(*_load_streamed(found), shard_lengths=found.shard_lengths)


def _load_streamed(found: ImageSource) -> tuple[np.ndarray, ...]:
    """Returns all images of a source, and their labels where it has them."""
    import tensorflow as tf

    def decode(records):
        return (found.decode(records), *([found.labels(records)] if found.labels else []))

    records = found.read(tf.range(len(found.shard_lengths), dtype=tf.int64)).batch(100)
    count = sum(found.shard_lengths)
    parts = np.empty((count, *found.image_shape), np.uint8), np.empty(count, np.int32)
    arrays, done = parts if found.labels else parts[:1], 0
    for batch in records.map(decode, num_parallel_calls=tf.data.AUTOTUNE).as_numpy_iterator():
        for array, values in zip(arrays, batch, strict=True):
            array[done : done + len(values)] = values
        done += len(batch[0])
    return arrays


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
        return _load_streamed(source(config, split))[0]


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


def _held(images: np.ndarray, labels: np.ndarray | None = None, shard_lengths: tuple[int, ...] = ()) -> ImageSource:
    """Makes a source of images in memory. Its records are the numbers of the images."""
    import tensorflow as tf

    # Made outside the graph: a constant inside would be copied into every saved graph.
    with tf.device("CPU"):
        held = tf.constant(images)
        classes = None if labels is None else tf.constant(labels, tf.int32)
    lengths = shard_lengths or (len(images),)
    ends = np.cumsum(lengths)

    def read(numbers):
        shards = tf.data.Dataset.from_tensor_slices((tf.gather(ends - lengths, numbers), tf.gather(ends, numbers)))
        return shards.flat_map(tf.data.Dataset.range)

    def decode(numbers):
        return tf.gather(held, numbers)

    of_numbers = None if classes is None else lambda numbers: tf.gather(classes, numbers)
    return ImageSource(lengths, images.shape[1:], read, decode, labels=of_numbers)


def _module(config: DataConfig) -> types.ModuleType:
    modules = {**_IN_MEMORY, **_STREAMED}
    if config.dataset not in modules:
        close = difflib.get_close_matches(config.dataset, modules, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise DataError(f"--dataset={config.dataset}: unknown; {hint}known: {', '.join(names())}")
    return modules[config.dataset]
