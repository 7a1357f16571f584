"""The semantic hash of Radford et al. (2015), with which PixelVAE's authors removed duplicates from LSUN.

A denoising autoencoder of 3072-128-3072 units with dropout and ReLU learns to restore 32x32 images. The code of an
image says which of the 128 hidden units it activates. We add two things, after measurements on re-encoded copies of
real photographs. Each image is normalized to mean 0 and deviation 1, so that brightness and contrast do not change
its code: without this a third of the copies had equal codes, with it three quarters. And codes of duplicates may
differ in a few bits.
"""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import tensorflow as tf

SIZE = 32
CODE_BITS = 128
_VALUES = SIZE * SIZE * 3
_NOISE = 0.1  # deviation of the noise on the input, whose own deviation is 1
_INPUT_DROPOUT, _CODE_DROPOUT = 0.2, 0.5
_LEARNING_RATE = 1e-3
_BATCH = 64
_LEAST_STEPS = 1000
_SHUFFLED_TOGETHER = 10_000
_FLAT = 1e-3  # added to an image's deviation, so that a blank image has a code as well


def train(thumbnails: pathlib.Path, count: int, *, steps: int = 0, seed: int = 0) -> keras.Layer:
    """Trains on a file of 32x32 images. Returns the layer from 3072 values to the 128 inputs of the code's ReLUs.

    Args:
        thumbnails: a file of `count` images of 3072 bytes each, one after the other; read as a stream.
        count: number of images in the file.
        steps: training steps of 64 images; 0 for one pass over the file, but at least 1,000 steps.
        seed: determines the weights, the noise and the order.
    """
    keras.utils.set_random_seed(seed)
    code = keras.layers.Dense(CODE_BITS)
    autoencoder = keras.Sequential(
        [
            keras.Input((_VALUES,)),
            keras.layers.GaussianNoise(_NOISE),
            keras.layers.Dropout(_INPUT_DROPOUT),
            code,
            keras.layers.ReLU(),
            keras.layers.Dropout(_CODE_DROPOUT),
            keras.layers.Dense(_VALUES),
        ]
    )
    autoencoder.compile(keras.optimizers.Adam(_LEARNING_RATE), "mse")
    images = _stream(thumbnails).repeat().shuffle(min(count, _SHUFFLED_TOGETHER), seed=seed).batch(_BATCH)
    pairs = images.map(_normalized).map(lambda values: (values, values)).prefetch(tf.data.AUTOTUNE)
    autoencoder.fit(pairs, steps_per_epoch=steps or max(_LEAST_STEPS, count // _BATCH), shuffle=False, verbose=0)
    return code


def codes(layer: keras.Layer, thumbnails: pathlib.Path) -> np.ndarray:
    """Returns the codes of all images in a file, (images, 16) uint8: a bit for each hidden unit, set if above zero."""
    on = tf.function(lambda values: layer(values) > 0)
    batches = _stream(thumbnails).batch(4096).map(_normalized).prefetch(tf.data.AUTOTUNE)
    return np.concatenate([np.packbits(on(batch).numpy(), axis=1) for batch in batches])


def _stream(thumbnails: pathlib.Path) -> tf.data.Dataset:
    return tf.data.FixedLengthRecordDataset(str(thumbnails), _VALUES)


def _normalized(records: tf.Tensor) -> tf.Tensor:
    """Decodes records to (images, 3072) float32 and normalizes each image to mean 0 and deviation 1."""
    values = tf.cast(tf.io.decode_raw(records, tf.uint8), tf.float32) / 255.0
    values = tf.ensure_shape(values, (None, _VALUES))
    mean, variance = tf.nn.moments(values, axes=[1], keepdims=True)
    return (values - mean) / (tf.sqrt(variance) + _FLAT)
