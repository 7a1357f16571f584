"""The distributions of the model: latents are diagonal Gaussians, pixels Bernoulli or categorical.

Every method works element by element and in float32; `objectives` sums over the dimensions of an example.
Sampling is a deterministic function of given noise (standard normals for latents, uniforms for pixels), so
that two samplers fed the same noise can be compared pixel by pixel.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from keras import ops

_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


class DiagonalGaussian(NamedTuple):
    """Independent normal distributions with the given mean and scale (standard deviation), any shape."""

    mean: object
    scale: object

    def sample(self, noise):
        """The reparameterised sample mean + scale * noise, for standard normal noise of the same shape."""
        return self.mean + self.scale * noise

    def log_prob(self, value):
        """Log density of each element, in nats."""
        standardized = (value - self.mean) / self.scale
        return -0.5 * ops.square(standardized) - ops.log(self.scale) - _HALF_LOG_TWO_PI

    def kl(self, other: DiagonalGaussian):
        """KL(self || other) of each element, in nats, in closed form."""
        ratio = self.scale / other.scale
        shift = (self.mean - other.mean) / other.scale
        return 0.5 * (ops.square(ratio) + ops.square(shift) - 1.0) - ops.log(ratio)


def standard_normal_like(value) -> DiagonalGaussian:
    """The standard normal prior of the topmost level, in the shape of `value`."""
    return DiagonalGaussian(ops.zeros_like(value), ops.ones_like(value))


def gaussian_from_parameters(parameters) -> DiagonalGaussian:
    """A diagonal Gaussian from a network's output: mean and log scale, side by side on the last axis.

    Args:
        parameters: (..., 2 * dimensions), of any floating type.

    Returns:
        A `DiagonalGaussian` of shape (..., dimensions), float32.
    """
    mean, log_scale = ops.split(ops.cast(parameters, "float32"), 2, axis=-1)
    return DiagonalGaussian(mean, ops.exp(log_scale))


class Bernoulli(NamedTuple):
    """Binary pixels 0 and 1; `logits` has the shape of the images."""

    logits: object

    def log_prob(self, pixels):
        """Log probability of each pixel (integers 0 or 1), in nats."""
        return -ops.softplus(ops.where(pixels > 0, -self.logits, self.logits))

    def sample(self, uniforms):
        """Integer pixels from uniforms in [0, 1) of the same shape: 1 where the uniform is under p(1)."""
        return ops.cast(uniforms < ops.sigmoid(self.logits), "int32")

    def mean(self):
        """Expected value of each pixel."""
        return ops.sigmoid(self.logits)


class Categorical(NamedTuple):
    """Pixels 0..levels-1 by a softmax; `logits` has the shape of the images and a last axis of levels."""

    logits: object

    def log_prob(self, pixels):
        """Log probability of each pixel (integers 0..levels-1), in nats."""
        return -ops.sparse_categorical_crossentropy(ops.cast(pixels, "int64"), self.logits, from_logits=True)

    def sample(self, uniforms):
        """Integer pixels from uniforms in [0, 1) of the images' shape, by inverting the cumulative distribution."""
        cumulative = ops.cumsum(ops.softmax(self.logits, axis=-1), axis=-1)
        pixels = ops.sum(ops.cast(uniforms[..., None] >= cumulative, "int32"), axis=-1)
        return ops.minimum(pixels, self.logits.shape[-1] - 1)

    def mean(self):
        """Expected value of each pixel."""
        levels = ops.arange(self.logits.shape[-1], dtype="float32")
        return ops.sum(ops.softmax(self.logits, axis=-1) * levels, axis=-1)


def pixel_distribution(logits, pixel_levels: int):
    """The output distribution from a decoder's last feature maps, color by color.

    Args:
        logits: (batch, height, width, colors) for two levels, else (batch, height, width, colors * levels),
            the levels of one color side by side.
        pixel_levels: values that a pixel can take.

    Returns:
        A `Bernoulli` or a `Categorical` over images of shape (batch, height, width, colors).
    """
    logits = ops.cast(logits, "float32")
    if pixel_levels == 2:
        return Bernoulli(logits)
    _, height, width, units = logits.shape
    return Categorical(ops.reshape(logits, (-1, height, width, units // pixel_levels, pixel_levels)))


def logits_per_color(pixel_levels: int) -> int:
    """Output units that a decoder needs for each color: one logit for binary pixels, else one a level."""
    return 1 if pixel_levels == 2 else pixel_levels
