"""Batches of images: shuffled anew every epoch from the seed for training, in order and complete for evaluation."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from pixelvae_tf.config import DataConfig
from pixelvae_tf.data import registry
from pixelvae_tf.data.schema import DataError


def training_batches(
    config: DataConfig, *, batch_size: int, seed: int = 0, start_step: int = 0
) -> tf.data.Dataset:
    """An endless stream of training batches; batch k depends on the data, the batch size, the seed and k alone.

    Every epoch is a fresh permutation of the training split whose remainder is dropped. A stream that starts at
    `start_step` gives what one from the beginning gives from there on, without reading what it skips.

    Args:
        config: the dataset.
        batch_size: images a batch.
        seed: of the permutations.
        start_step: number of the first batch, from 0.

    Returns:
        A dataset of (batch_size, height, width, colors) uint8.

    Raises:
        DataError: for unreadable data, or a batch larger than the split.
    """
    images = registry.load(config, "train")
    _check_batch_size(batch_size)
    if batch_size > len(images):
        raise DataError(
            f"batch_size={batch_size}: {config.dataset} has {len(images)} training images; use a smaller batch"
        )
    steps_per_epoch = len(images) // batch_size
    # Held outside the graph, where a constant would be copied into every saved one.
    with tf.device("CPU"):
        held = tf.constant(images)

    def epoch(number):
        order = tf.random.experimental.stateless_shuffle(tf.range(len(images)), seed=(tf.cast(seed, tf.int64), number))
        batches = tf.reshape(order[: steps_per_epoch * batch_size], (steps_per_epoch, batch_size))
        skipped = tf.where(number == start_step // steps_per_epoch, start_step % steps_per_epoch, 0)
        return tf.data.Dataset.from_tensor_slices(batches[skipped:])

    def gather(indices):
        batch = tf.gather(held, indices)
        return tf.ensure_shape(batch, (batch_size, *images.shape[1:]))

    epochs = tf.data.Dataset.range(start_step // steps_per_epoch, np.iinfo(np.int64).max)
    return epochs.flat_map(epoch).map(gather).prefetch(tf.data.AUTOTUNE)


def evaluation_batches(
    config: DataConfig, split: str, *, batch_size: int, max_examples: int = 0
) -> tf.data.Dataset:
    """The images of a split in fixed order, each once; the last batch holds what is left.

    Args:
        config: the dataset.
        split: "train", "validation" or "test".
        batch_size: images a batch.
        max_examples: only the first so many; 0 for all.

    Returns:
        A dataset of (at most batch_size, height, width, colors) uint8.

    Raises:
        DataError: for an unknown split or unreadable data.
    """
    _check_batch_size(batch_size)
    images = registry.load(config, split)
    if max_examples:
        images = images[:max_examples]
    return tf.data.Dataset.from_tensor_slices(images).batch(batch_size).prefetch(tf.data.AUTOTUNE)


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise DataError(f"batch_size={batch_size}: use 1 or more")
