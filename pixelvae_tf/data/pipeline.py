"""Batches of images: for training shuffled anew every epoch from the seed, for evaluation in order and complete."""

from __future__ import annotations

import tensorflow as tf

from pixelvae_tf.config import DataConfig
from pixelvae_tf.data import ordering, registry
from pixelvae_tf.data.augmentation import Augmentation, transformed
from pixelvae_tf.data.schema import DataError, ImageSource


def training_batches(
    config: DataConfig,
    *,
    batch_size: int,
    seed: int = 0,
    start_step: int = 0,
    num_shards: int = 1,
    shard_index: int = 0,
    labelled: bool = False,
    augmentation: Augmentation | None = None,
) -> tf.data.Dataset:
    """Returns an endless stream of training batches. Batch k depends only on the data, batch size, seed and k.

    Every epoch shuffles the training split anew and drops the incomplete last batch. A stream that starts at
    `start_step` equals one from the beginning from that step on; it does not decode what it skips. Several workers
    together read the batches of a single process: worker i of n reads images i*b/n up to (i+1)*b/n of each batch of b.

    Args:
        config: the dataset.
        batch_size: images in a batch, over all workers.
        seed: determines the order of the images.
        start_step: number of the first batch, from 0.
        num_shards: workers that share each batch.
        shard_index: which of them this is, from 0.
        labelled: whether to add the class of each image.
        augmentation: which images are transformed at random; None for none.

    Returns:
        A dataset of (batch_size / num_shards, height, width, colors) uint8; with `labelled`, of pairs of such images
        and labels, (batch_size / num_shards,) int32.

    Raises:
        DataError: for unreadable data, a batch larger than the split, a batch size that the workers cannot share, or
            labels of a dataset without classes.
    """
    _check_batch_size(batch_size, num_shards, shard_index)
    source = registry.training_source(config, labelled)
    images = sum(source.shard_lengths)
    if batch_size > images:
        raise DataError(f"batch_size={batch_size}: {config.dataset} has {images} training images; use a smaller batch")
    if registry.in_memory(config):
        batches = ordering.permuted_numbers(images, batch_size, seed, start_step)
    else:
        batches = ordering.shuffled_records(source, batch_size, seed, start_step)
    first, last = (index * batch_size // num_shards for index in (shard_index, shard_index + 1))
    if num_shards > 1:
        batches = batches.map(lambda records: records[first:last])
    decode = _decoder(source, batch_size // num_shards, labelled)
    batches = batches.map(decode, num_parallel_calls=tf.data.AUTOTUNE)
    if augmentation is not None and augmentation.share:

        def augment(step, batch):
            transforms = augmentation.transforms(step, batch_size, source.image_shape[:2], seed)[first:last]
            if not labelled:
                return transformed(batch, transforms)
            images, labels = batch
            return transformed(images, transforms), labels

        batches = batches.enumerate(start_step).map(augment, num_parallel_calls=tf.data.AUTOTUNE)
    return _with_options(batches, num_shards)


def evaluation_batches(
    config: DataConfig, split: str, *, batch_size: int, max_examples: int = 0, labelled: bool = False
) -> tf.data.Dataset:
    """Returns each image of a split once, in fixed order. The last batch may be smaller.

    Args:
        config: the dataset.
        split: "train", "validation" or "test".
        batch_size: images in a batch.
        max_examples: number of images to read; 0 for all.
        labelled: see `training_batches`.

    Returns:
        A dataset of (at most batch_size, height, width, colors) uint8; with `labelled`, of pairs of such images and
        labels, (at most batch_size,) int32.

    Raises:
        DataError: for an unknown split, unreadable data, or labels of a dataset without classes.
    """
    _check_batch_size(batch_size)
    source = registry.source(config, split, labelled)
    records = source.read(tf.range(len(source.shard_lengths), dtype=tf.int64))
    images = sum(source.shard_lengths)
    if max_examples:
        images = min(images, max_examples)
    # Keras warns if a dataset ends before its cardinality says so.
    batches = records.take(images).apply(tf.data.experimental.assert_cardinality(images)).batch(batch_size)
    return _with_options(batches.map(_decoder(source, None, labelled), num_parallel_calls=tf.data.AUTOTUNE))


def _decoder(source: ImageSource, size: int | None, labelled: bool):
    def decode(records):
        images = tf.ensure_shape(source.decode(records), (size, *source.image_shape))
        return (images, tf.ensure_shape(source.labels(records), (size,))) if labelled else images

    return decode


def _with_options(images: tf.data.Dataset, num_shards: int = 1) -> tf.data.Dataset:
    """Prefetches in order. A strategy may split batches between workers if we have not; it never splits files."""
    options = tf.data.Options()
    options.deterministic = True
    policy = tf.data.experimental.AutoShardPolicy
    options.experimental_distribute.auto_shard_policy = policy.OFF if num_shards > 1 else policy.DATA
    return images.prefetch(tf.data.AUTOTUNE).with_options(options)


def _check_batch_size(batch_size: int, num_shards: int = 1, shard_index: int = 0) -> None:
    if batch_size < 1:
        raise DataError(f"batch_size={batch_size}: use 1 or more")
    if batch_size % num_shards:
        raise DataError(f"batch_size={batch_size}: {num_shards} workers cannot share it; use a multiple")
    if not 0 <= shard_index < num_shards:
        raise DataError(f"shard_index={shard_index}: use 0 to {num_shards - 1}")
