"""Random transformations of training images, against learning them by heart.

An image turns, leans and stretches about its center. Each pixel of the result is a copy of one pixel of the image, so
two levels stay two, and the noise of a binarization stays noise. What lies outside the image repeats its border.
"""

from __future__ import annotations

import dataclasses
import math

import keras
import tensorflow as tf

from pixelvae_tf.probability import randomness

# The largest of each transformation; every image gets uniform ones up to these, in both directions.
LARGEST_ROTATION = math.radians(10)
LARGEST_SHEAR = 0.15
LARGEST_STRETCH = 0.1  # of the logarithm of width and of height, separately


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Which training images are transformed.

    Attributes:
        share: probability that an image is transformed, 0 to 1.
        steps: transforms only batches 0 to steps - 1; 0 for all batches. The last steps of a training should see the
            images as they are, because the transformed ones have another distribution.
    """

    share: float
    steps: int = 0

    def transforms(self, step, batch_size: int, sides: tuple[int, int], seed: int) -> tf.Tensor:
        """Draws the transformations of a batch, which depend on nothing but the arguments.

        Args:
            step: number of the batch, from 0.
            batch_size: images in the whole batch, over all workers.
            sides: height and width of an image.
            seed: the run's seed.

        Returns:
            (batch_size, 8) float32: for each image the first eight elements, by rows, of the 3x3 matrix that maps
            positions (column, row, 1) of the result to those of the image.
        """
        drawn = randomness.uniform([5, batch_size], randomness.stream(seed, "augmentation", step))
        chosen = drawn[0] < self.share
        if self.steps:
            chosen &= step < self.steps
        # One that is not transformed gets the identity, whose positions are whole numbers.
        angle, shear, wide, high = tf.unstack(tf.where(chosen, 2 * drawn[1:] - 1, 0.0))
        cosine, sine = tf.cos(angle * LARGEST_ROTATION), tf.sin(angle * LARGEST_ROTATION)
        shear *= LARGEST_SHEAR
        wide, high = tf.exp(wide * LARGEST_STRETCH), tf.exp(high * LARGEST_STRETCH)
        # Rotation, times the stretch, times the shear.
        columns = (cosine * wide, shear * cosine * wide - sine * high)
        rows = (sine * wide, shear * sine * wide + cosine * high)
        middle = [(side - 1) / 2 for side in reversed(sides)]
        none = tf.zeros_like(shear)

        def around_middle(first, second, own):
            return first, second, own - first * middle[0] - second * middle[1]

        return tf.stack([*around_middle(*columns, middle[0]), *around_middle(*rows, middle[1]), none, none], axis=1)


def transformed(images: tf.Tensor, transforms: tf.Tensor) -> tf.Tensor:
    """Returns images, (batch, height, width, colors), by the transformations of each, (batch, 8)."""
    return keras.ops.image.affine_transform(
        images, transforms, interpolation="nearest", fill_mode="nearest", data_format="channels_last"
    )
