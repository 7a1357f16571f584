"""Pads batches to few sizes, because XLA compiles a graph anew for each size and keeps the result."""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf

from pixelvae_tf.layers.compilation import is_compiling

_SMALLEST_STEP = 4
# The sizes at which steps double. Larger batches grow by an eighth at most, and there are 50 sizes up to 1,024 images.
_BOUNDS = tuple(1 << power for power in range(6, 31))


def padded_size(count):
    """Returns the size to which a batch of `count` images is padded, int32.

    Sizes are 0, 1, 2, multiples of 4 up to 64, multiples of 8 up to 128, of 16 up to 256, and so on.
    """
    count = tf.cast(count, tf.int32)
    doublings = tf.reduce_sum(tf.cast(count > tf.constant(_BOUNDS), tf.int32))
    step = tf.bitwise.left_shift(_SMALLEST_STEP, doublings)
    return tf.where(count <= 2, count, -(-count // step) * step)


def computed_size(count):
    """Returns the batch size in which `count` values are computed: `padded_size` if XLA compiles the computation."""
    return padded_size(count) if is_compiling() else count


def in_few_sizes(function: Callable) -> Callable:
    """Wraps a function of batches so that it computes them padded with zeros to a `padded_size`, if XLA compiles gates.

    Arguments with an unknown first axis are batches, all of one size or of size 1. Results are cut to the size of the
    first batch. `function` must treat each image separately, so that padding changes no other image. The noise that it
    draws may depend on the batch size only in its length (see `randomness`).
    """

    @functools.wraps(function)
    def call(*arguments, **named):
        batches = [array for array in tf.nest.flatten((arguments, named)) if _is_batch(array)]
        if not batches or not is_compiling():
            return function(*arguments, **named)  # an export for TensorFlow Lite has nothing of this
        arguments, named = tf.nest.map_structure(_padded, (arguments, named))
        count = tf.shape(batches[0])[0]
        return tf.nest.map_structure(lambda array: array[:count], function(*arguments, **named))

    return call


def _is_batch(array) -> bool:
    return tf.is_tensor(array) and bool(array.shape.rank) and array.shape[0] is None


def _padded(array):
    if not _is_batch(array):
        return array
    count = tf.shape(array)[0]
    return tf.pad(array, [[0, computed_size(count) - count], *[[0, 0]] * (array.shape.rank - 1)])
