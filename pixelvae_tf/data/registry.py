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


def classes(config: DataConfig) -> Classes:
    """The classes of a dataset. Raises DataError where it has none, or its data is missing or damaged."""
    module = _module(config)
    if not hasattr(module, "classes"):
        known = [name for name in names() if hasattr({**_IN_MEMORY, **_STREAMED}[name], "classes")]
        raise DataError(f"--dataset={config.dataset}: its images have no classes; those of {', '.join(known)} have")
    return module.classes(config)


def classes_of_model(config: DataConfig, num_classes: int) -> Classes | None:
    """The classes of a dataset, for a model of so many; None for 0. Raises DataError where the dataset has others."""
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
    """The images of a split, for the pipeline to order and read.

    Raises:
        DataError: for an unknown dataset or split, data that is missing or damaged, or labels of a dataset without.
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


def training_source(config: DataConfig, labelled: bool = False) -> ImageSource:
    """The training images; in memory where the configuration asks for it, in shards of the same lengths."""
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
    """All images of a source, and their labels where it has them."""
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
        return _load_streamed(source(config, split))[0]


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


def _held(images: np.ndarray, labels: np.ndarray | None = None, shard_lengths: tuple[int, ...] = ()) -> ImageSource:
    """Images in memory as a source, whose records are their numbers."""
    import tensorflow as tf

    # Held outside the graph, where a constant would be copied into every saved one.
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
