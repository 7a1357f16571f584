"""Repeatable noise: every random number is a function of a seed and of its purpose.

Stateless generators need no state in a checkpoint. A replica or a batch gets its own stream by folding its number into
the seed. TensorFlow's stateless operations draw different values under XLA, so the noise is always drawn outside
compiled blocks and passed in.
"""

from __future__ import annotations

import tensorflow as tf

_STREAMS = {
    "latents": 1,
    "pixels": 2,
    "training": 3,
    "validation": 4,
    "varied": 5,
    "refinements": 6,
    "dropout": 7,
    "augmentation": 8,
}


def as_seed(seed) -> tf.Tensor:
    """Makes a seed of shape (2,) from an integer or an integer tensor; a seed of shape (2,) passes through."""
    seed = tf.cast(seed, tf.int32)
    return seed if seed.shape.rank == 1 else tf.stack([seed, 0])


def stream(seed, name: str, index=0) -> tf.Tensor:
    """Derives from `seed` the seed for one purpose ("latents", "pixels", ...), numbered by `index`."""
    named = tf.random.experimental.stateless_fold_in(as_seed(seed), _STREAMS[name])
    return tf.random.experimental.stateless_fold_in(named, tf.cast(index, tf.int32))


def normal(shape, seed) -> tf.Tensor:
    """Draws standard normal noise of the given shape, float32."""
    return tf.random.stateless_normal(shape, seed)


def uniform(shape, seed) -> tf.Tensor:
    """Draws uniform noise in [0, 1) of the given shape, float32."""
    return tf.random.stateless_uniform(shape, seed)


def integers(shape, seed) -> tf.Tensor:
    """Draws uniform integers 0..255 of the given shape, uint8: the cheapest noise, four from each random word."""
    count = tf.reduce_prod(shape)
    words = tf.random.stateless_uniform([-(-count // 4)], seed, minval=None, maxval=None, dtype=tf.uint32)
    return tf.reshape(tf.reshape(tf.bitcast(words, tf.uint8), [-1])[:count], shape)
