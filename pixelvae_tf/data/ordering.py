"""The order of training images: endless epochs, each shuffled anew from (seed, epoch), starting at any step.

Small datasets have random access, and an epoch is one permutation. Sharded datasets are read in groups of whole
shards: an epoch permutes the shards, reads one group at a time, and permutes the images of each group in memory.
Groups before the first step are skipped without being read.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from pixelvae_tf.data.schema import ImageSource

# Images that are shuffled together: 100 MB at 64x64. The shards themselves hold images in random order.
SHUFFLED_TOGETHER = 8_192


def permuted_numbers(count: int, batch_size: int, seed: int, start_step: int) -> tf.data.Dataset:
    """Returns batches of numbers below `count`. Every epoch is a permutation without the incomplete last batch."""
    steps_per_epoch = count // batch_size

    def epoch(number):
        order = tf.random.experimental.stateless_shuffle(tf.range(count), seed=(tf.cast(seed, tf.int64), number))
        batches = tf.reshape(order[: steps_per_epoch * batch_size], (steps_per_epoch, batch_size))
        skipped = tf.where(number == start_step // steps_per_epoch, start_step % steps_per_epoch, 0)
        return tf.data.Dataset.from_tensor_slices(batches[skipped:])

    return _epochs(start_step // steps_per_epoch).flat_map(epoch)


def shuffled_records(source: ImageSource, batch_size: int, seed: int, start_step: int) -> tf.data.Dataset:
    """Returns batches of records from a sharded source. Every epoch shuffles anew and drops an incomplete batch."""
    lengths = np.array(source.shard_lengths, np.int64)
    group = max(1, round(SHUFFLED_TOGETHER / lengths.mean()))
    groups = -(-len(lengths) // group)
    steps_per_epoch = int(lengths.sum()) // batch_size
    shard_lengths = tf.constant(lengths)

    def epoch(number):
        seeds = tf.stack([tf.cast(seed, tf.int64), number])
        order = tf.random.experimental.stateless_shuffle(tf.range(len(lengths), dtype=tf.int64), seed=seeds)
        padded = tf.pad(tf.gather(shard_lengths, order), [[0, groups * group - len(lengths)]])
        group_lengths = tf.reduce_sum(tf.reshape(padded, (groups, group)), axis=1)
        skipped = tf.where(number == start_step // steps_per_epoch, start_step % steps_per_epoch, 0) * batch_size
        ends = tf.cumsum(group_lengths)
        first = tf.searchsorted(ends, [tf.cast(skipped, tf.int64)], side="right", out_type=tf.int64)[0]

        def read(index):
            records = source.read(order[index * group : (index + 1) * group]).batch(group_lengths[index])
            folded = tf.random.experimental.stateless_fold_in(seeds, index)
            return records.map(lambda values: tf.random.experimental.stateless_shuffle(values, seed=folded))

        begin = tf.concat([[0], ends], 0)[first]
        records = tf.data.Dataset.range(first, groups).flat_map(read).prefetch(1)
        records = records.flat_map(tf.data.Dataset.from_tensor_slices).skip(tf.cast(skipped, tf.int64) - begin)
        return records.batch(batch_size, drop_remainder=True)

    return _epochs(start_step // steps_per_epoch).flat_map(epoch)


def _epochs(first: int) -> tf.data.Dataset:
    return tf.data.Dataset.range(first, np.iinfo(np.int64).max)
