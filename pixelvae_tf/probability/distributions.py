"""The distributions of the model: latents are diagonal Gaussians, pixels Bernoulli, categorical or a mixture.

Methods work element by element and in float32. The exception is `TransformedNormal`: its elements depend on each other,
so it returns one number per example. `objectives` sums over the dimensions of an example and accepts both.
Sampling is a deterministic function of given noise (standard normals for latents, uniforms for pixels). So tests can
compare two samplers pixel by pixel on the same noise.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from keras import ops

from pixelvae_tf.probability.logistic_mixture import logistic_mixture_from_parameters

_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


class DiagonalGaussian(NamedTuple):
    """Independent normal distributions with the given mean and scale (standard deviation), any shape."""

    mean: object
    scale: object

    def sample(self, noise):
        """Returns the reparameterised sample mean + scale * noise, for standard normal noise of the same shape."""
        return self.mean + self.scale * noise

    def noise_of(self, value):
        """Inverts `sample`: returns the noise that gives the value."""
        return (value - self.mean) / self.scale

    def log_prob(self, value):
        """Returns the log density of each element, in nats."""
        standardized = (value - self.mean) / self.scale
        return -0.5 * ops.square(standardized) - ops.log(self.scale) - _HALF_LOG_TWO_PI

    def kl(self, other: DiagonalGaussian):
        """Returns KL(self || other) of each element, in nats, in closed form."""
        ratio = self.scale / other.scale
        shift = (self.mean - other.mean) / other.scale
        return 0.5 * (ops.square(ratio) + ops.square(shift) - 1.0) - ops.log(ratio)

    def kl_from(self, posterior: DiagonalGaussian, sample):
        """Returns KL(posterior || self) of each element, in nats, in closed form; ignores `sample`."""
        return posterior.kl(self)


def standard_normal_like(value) -> DiagonalGaussian:
    """Returns the standard normal prior of the topmost level, in the shape of `value`."""
    return DiagonalGaussian(ops.zeros_like(value), ops.ones_like(value))


class TransformedNormal(NamedTuple):
    """The distribution of a flow's output on standard normal noise: vectors whose elements depend on each other.

    Attributes:
        flow: maps values (batch, dimensions) to their noise and to the log determinant of the Jacobian, (batch,). Its
            `inverse` maps noise to values. See `networks.flow.RealNVP`.
        label: the classes of the examples, (batch,), which the flow and its inverse take too; None without classes.
    """

    flow: object
    label: object = None

    def sample(self, noise):
        """Maps standard normal noise to values, (batch, dimensions)."""
        return self.flow.inverse(noise, self.label)

    def noise_of(self, value):
        """Inverts `sample`: returns the noise that gives the values, (batch, dimensions)."""
        return self.flow(value, self.label)[0]

    def log_prob(self, value):
        """Returns the log density of each vector by the change of variables, (batch,), in nats."""
        noise, log_determinant = self.flow(value, self.label)
        return ops.sum(standard_normal_like(noise).log_prob(noise), axis=-1) + log_determinant

    def kl_from(self, posterior: DiagonalGaussian, sample):
        """Estimates KL(posterior || self) from one sample of the posterior, (batch,), in nats.

        The estimate is log q - log p at the sample. It is unbiased and can be negative. The known entropy of q could
        replace log q and has the same gradient. But if the posterior is good, log q at the sample varies with
        log p(x, z), so the bound varies less. With log q the bound is also the logarithm of an importance weight.
        """
        return ops.sum(posterior.log_prob(sample), axis=-1) - self.log_prob(sample)


def gaussian_from_parameters(parameters, scale: str = "exp") -> DiagonalGaussian:
    """Makes a diagonal Gaussian from a network's output: mean and log scale, side by side on the last axis.

    Args:
        parameters: (..., 2 * dimensions), of any floating type.
        scale: "exp" reads the second half s as a log scale. "softsign" makes the scale (softsign(s) + 1) / 2, which
            lies in (0, 1) and changes slowly at both ends.

    Returns:
        A `DiagonalGaussian` of shape (..., dimensions), float32.
    """
    mean, raw_scale = ops.split(ops.cast(parameters, "float32"), 2, axis=-1)
    if scale == "exp":
        return DiagonalGaussian(mean, ops.exp(raw_scale))
    # (softsign(s) + 1) / 2, written separately for each sign of s: the sum would lose the digits of small scales.
    below = 0.5 / (1.0 - ops.minimum(raw_scale, 0.0))
    above = 1.0 - 0.5 / (1.0 + ops.maximum(raw_scale, 0.0))
    return DiagonalGaussian(mean, ops.where(raw_scale < 0, below, above))


def bounded_prior(gaussian: DiagonalGaussian, floor) -> DiagonalGaussian:
    """Bounds p(z1 | z2) of the natural-image models: means 2 softsign(m / 2), and scales of at least `floor`."""
    mean = 2.0 * ops.softsign(0.5 * gaussian.mean)
    return DiagonalGaussian(mean, floor + (1.0 - floor) * gaussian.scale)


class Bernoulli(NamedTuple):
    """Binary pixels 0 and 1; `logits` has the shape of the images."""

    logits: object

    def log_prob(self, pixels):
        """Returns the log probability of each pixel (integers 0 or 1), in nats."""
        return -ops.softplus(ops.where(pixels > 0, -self.logits, self.logits))

    def sample(self, uniforms):
        """Draws integer pixels from uniforms in [0, 1) of the same shape: 1 where the uniform is below p(1)."""
        return ops.cast(uniforms < ops.sigmoid(self.logits), "int32")

    def with_temperature(self, temperature) -> Bernoulli:
        """Returns the same distribution with its logits divided by a temperature; below 1 it favors likely values."""
        return Bernoulli(self.logits / temperature)

    def log_probs(self):
        """Returns the log probabilities of both values, the images' shape plus a last axis of 2, in nats."""
        return -ops.softplus(ops.stack([self.logits, -self.logits], axis=-1))


class Categorical(NamedTuple):
    """Pixels 0..levels-1 with softmax probabilities; `logits` has the images' shape plus a last axis of levels."""

    logits: object

    def log_prob(self, pixels):
        """Returns the log probability of each pixel (integers 0..levels-1), in nats."""
        return -ops.sparse_categorical_crossentropy(ops.cast(pixels, "int64"), self.logits, from_logits=True)

    def sample(self, uniforms):
        """Draws integer pixels from uniforms in [0, 1) of the images' shape, by inverting the distribution function."""
        # In float32 the sums of 256 probabilities depend on the order of addition, and so would one pixel in 50,000.
        cumulative = ops.cumsum(ops.softmax(ops.cast(self.logits, "float64"), axis=-1), axis=-1)
        pixels = ops.sum(ops.cast(ops.cast(uniforms, "float64")[..., None] >= cumulative, "int32"), axis=-1)
        return ops.minimum(pixels, self.logits.shape[-1] - 1)

    def with_temperature(self, temperature) -> Categorical:
        """Returns the same distribution with its logits divided by a temperature; below 1 it favors likely values."""
        return Categorical(self.logits / temperature)

    def log_probs(self):
        """Returns the log probabilities of all levels, the images' shape plus a last axis of levels, in nats."""
        return ops.log_softmax(self.logits, axis=-1)


class DiscretizedGaussian(NamedTuple):
    """Pixels 0..levels-1, each with the mass of a Gaussian within half a level; the end levels include the tails.

    `mean` and `scale` have the shape of the images; their unit is one level.
    """

    mean: object
    scale: object
    pixel_levels: int

    def log_prob(self, pixels):
        """Returns the log probability of each pixel (integers 0..levels-1), in nats."""
        pixels = ops.cast(pixels, "float32")
        lower, upper = ((pixels + shift - self.mean) / self.scale for shift in (-0.5, 0.5))
        # A mirrored interval has the same mass, and logarithms are accurate left of the mean.
        mirrored = lower + upper > 0
        lower, upper = ops.where(mirrored, -upper, lower), ops.where(mirrored, -lower, upper)
        open_below = ops.where(mirrored, pixels >= self.pixel_levels - 1, pixels <= 0)
        open_above = ops.where(mirrored, pixels <= 0, pixels >= self.pixel_levels - 1)
        log_upper = ops.where(open_above, 0.0, _log_normal_cdf(upper))
        log_ratio = _log_normal_cdf(lower) - log_upper
        log_mass = log_upper + ops.log(-ops.expm1(ops.minimum(log_ratio, -1e-7)))
        return ops.where(open_below, log_upper, log_mass)

    def sample(self, uniforms):
        """Draws integer pixels from uniforms in [0, 1) of the images' shape, by inverting the distribution function."""
        standard = math.sqrt(2.0) * ops.erfinv(ops.clip(2.0 * uniforms - 1.0, -1.0 + 1e-7, 1.0 - 1e-7))
        pixels = ops.ceil(self.mean + self.scale * standard - 0.5)
        return ops.cast(ops.clip(pixels, 0, self.pixel_levels - 1), "int32")

    def with_temperature(self, temperature) -> DiscretizedGaussian:
        """Returns the same distribution with its scale multiplied by a temperature, as for latents."""
        return self._replace(scale=self.scale * temperature)

    def log_probs(self):
        """Returns the log probabilities of all levels, the images' shape plus a last axis of levels, in nats."""
        of_levels = self._replace(mean=self.mean[..., None], scale=self.scale[..., None])
        return of_levels.log_prob(ops.arange(self.pixel_levels))


def _log_normal_cdf(value):
    """Returns the logarithm of the standard normal distribution function, to float32 precision at any value."""
    near = ops.maximum(value, -5.0)
    # Below -5 the function underflows: its asymptotic series (Abramowitz & Stegun 26.2.12).
    far = ops.minimum(value, -5.0)
    inverse = 1.0 / ops.square(far)
    series = 1.0 - inverse * (1.0 - 3.0 * inverse * (1.0 - 5.0 * inverse * (1.0 - 7.0 * inverse)))
    log_far = -0.5 * ops.square(far) - ops.log(-far) - _HALF_LOG_TWO_PI + ops.log(series)
    log_near = ops.log(0.5 * ops.erfc(near * -math.sqrt(0.5)))
    return ops.where(value > -5.0, log_near, log_far)


def pixel_distribution(parameters, pixel_levels: int, kind: str = "discrete", mixture_components: int = 0):
    """Makes the output distribution from a decoder's last feature maps, color by color.

    Args:
        parameters: (batch, height, width, colors * parameters_per_color(...)); those of one color are adjacent.
        pixel_levels: number of values of a pixel.
        kind: "discrete", "logistics" or "gaussian", see `ModelConfig.output_distribution`.
        mixture_components: number of components for each color, for "logistics".

    Returns:
        A `Bernoulli`, `Categorical`, `LogisticMixture` or `DiscretizedGaussian` over images of shape (batch, height,
        width, colors).
    """
    parameters = ops.cast(parameters, "float32")
    per_color = parameters_per_color(pixel_levels, kind, mixture_components)
    if per_color == 1:
        return Bernoulli(parameters)
    _, height, width, units = parameters.shape
    parameters = ops.reshape(parameters, (-1, height, width, units // per_color, per_color))
    if kind == "discrete":
        return Categorical(parameters)
    if kind == "logistics":
        return logistic_mixture_from_parameters(parameters, pixel_levels)
    # With initial weights the mean is the middle grey and the scale a quarter of the range.
    half = 0.5 * (pixel_levels - 1)
    mean, scale = half * (1.0 + parameters[..., 0]), 0.5 * half * ops.exp(parameters[..., 1])
    return DiscretizedGaussian(mean, scale, pixel_levels)


def parameters_per_color(pixel_levels: int, kind: str = "discrete", mixture_components: int = 0) -> int:
    """Returns a decoder's output units per color.

    One logit for binary pixels, else one per level; three for each component of a mixture of logistics; two for a
    Gaussian.
    """
    if kind == "logistics":
        return 3 * mixture_components
    if kind == "gaussian":
        return 2
    return 1 if pixel_levels == 2 else pixel_levels
