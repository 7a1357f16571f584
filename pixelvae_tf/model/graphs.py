"""The graphs behind a model: tensors in, tensors out, each traced once for all batch sizes.

The methods of `PixelVAE` call them with checked arrays, exports contain them, and benchmarks time them. A tf.function
or a dataset's map can call them too, where those methods do not work.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import tensorflow as tf

from pixelvae_tf.errors import UserError
from pixelvae_tf.model.batch_sizes import computed_size, in_few_sizes
from pixelvae_tf.model.settings import own_settings
from pixelvae_tf.probability import objectives, randomness
from pixelvae_tf.probability.objectives import ElboTerms
from pixelvae_tf.sampling import cached, naive
from pixelvae_tf.sampling.ancestral import sample_latents
from pixelvae_tf.sampling.noise import SamplingNoise, draw_noise, latent_noise, sample_posteriors, with_temperature

if TYPE_CHECKING:
    from pixelvae_tf.probability.objectives import Values

# Importance samples of small batches are computed together, up to this many pixels in a pass of the network. A smaller
# pass does not keep a core busy. A larger one takes more memory and is not faster.
PIXELS_A_PASS = 1 << 16

_INTEGER = tf.TensorSpec((), tf.int32)


class Sampler(NamedTuple):
    """Functions that draw a level of latents, and pixels, in the order of generation.

    All samplers draw the same images from the same noise.
    """

    draw_level: Callable
    sample_pixels: Callable


SAMPLERS = {
    "cached": Sampler(cached.draw_level_cached, cached.sample_pixels_cached),
    "naive": Sampler(naive.draw_level_naive, naive.sample_pixels_naive),
}


def checked_sampler(name: str) -> str:
    """Returns the name of a sampler. Raises UserError for an unknown name."""
    if name not in SAMPLERS:
        raise UserError(f"method={name!r}: choose one of {', '.join(SAMPLERS)}")
    return name


class Encoding(NamedTuple):
    """The posteriors of a batch, by level (z1 first): (batch, channels) or (batch, height, width, channels)."""

    mean: tuple[Values, ...]
    scale: tuple[Values, ...]
    sample: tuple[Values, ...]


class Graphs:
    """The graphs of one model. Images are (batch, height, width, colors) uint8, seeds and counts int32 scalars.

    For a model of classes they take one more argument at the end: the label of each image, (batch,) int32.

    Args:
        model: a `PixelVAE`.
        pixels_a_pass: see PIXELS_A_PASS.
    """

    def __init__(self, model, pixels_a_pass: int = PIXELS_A_PASS):
        self.model = model
        self.config = model.config
        self.pixels_a_pass = pixels_a_pass
        self._images = tf.TensorSpec((None, *self.config.image_shape), tf.uint8)
        self._latents = tuple(tf.TensorSpec((None, *shape), tf.float32) for shape in self.config.latent_shapes)
        self._label = (tf.TensorSpec((None,), tf.int32),) if self.config.num_classes else ()
        self._temperatures = tf.TensorSpec((1 + self.config.num_levels,), tf.float32)

    @functools.cached_property
    def elbo(self) -> Callable[..., ElboTerms]:
        """The bound and its terms, `elbo(images, seed)`."""

        def elbo(images, seed, label=None):
            return self.model.elbo_terms(images, latent_noise(self.config, tf.shape(images)[0], seed), label=label)

        return _traced(elbo, self._images, _INTEGER, *self._label)

    @functools.cached_property
    def log_likelihood(self) -> Callable[..., tf.Tensor]:
        """The importance-sampled likelihood, (batch,), `log_likelihood(images, importance_samples, seed)`."""
        model, config = self.model, self.config
        height, width, _ = config.image_shape

        def log_likelihood(images, importance_samples, seed, label=None):
            if not config.num_levels:
                return -model.reconstruction(images, [], label=label)
            posteriors = model.q_z_given_x(images, label)
            batch = tf.shape(images)[0]
            at_once = tf.maximum(1, self.pixels_a_pass // (batch * height * width))

            def noise_of(index):
                return latent_noise(config, batch, randomness.stream(seed, "latents", index))

            def add_samples(first, log_total):
                count = tf.minimum(at_once, importance_samples - first)
                computed = computed_size(count)

                def repeated(array):
                    return tf.tile(array, [computed, *[1] * (len(array.shape) - 1)])

                noise = tf.map_fn(noise_of, tf.range(first, first + computed), fn_output_signature=self._latents)
                noise = tuple(tf.reshape(level, (-1, *level.shape[2:])) for level in noise)
                of_images = tf.nest.map_structure(repeated, (images, posteriors))
                of_label = None if label is None else repeated(label)
                log_weights = model.log_importance_weight(*of_images, noise, of_label)
                log_weights = tf.reshape(log_weights, (computed, batch))[:count]
                together = tf.reduce_logsumexp(log_weights, axis=0)
                return first + count, objectives.accumulate_log_weight(log_total, together)

            # A loop over groups of samples: memory does not grow with their number.
            _, log_total = tf.while_loop(
                lambda first, _: first < importance_samples, add_samples, (0, tf.fill([batch], -float("inf")))
            )
            return log_total - tf.math.log(tf.cast(importance_samples, tf.float32))

        return _traced(log_likelihood, self._images, _INTEGER, _INTEGER, *self._label)

    @functools.cached_property
    def encode(self) -> Callable[..., Encoding]:
        """The posteriors and samples from them, `encode(images, seed)`."""

        def encode(images, seed, label=None):
            posteriors = self.model.q_z_given_x(images, label)
            noise = latent_noise(self.config, tf.shape(images)[0], seed)
            samples = sample_posteriors(posteriors, noise)
            return Encoding(tuple(q.mean for q in posteriors), tuple(q.scale for q in posteriors), tuple(samples))

        return _traced(encode, self._images, _INTEGER, *self._label)

    @functools.cached_property
    def _levels(self) -> dict[str, Callable]:
        """For each sampler, `draw_level` with a graph for each level, which the graphs below share."""

        def shared(sampler: Sampler):
            levels = [
                tf.function(functools.partial(sampler.draw_level, self.model, level), autograph=False)
                for level in range(self.config.num_levels)
            ]
            return lambda _, level, condition, noise: levels[level](condition, noise)

        return {name: shared(sampler) for name, sampler in SAMPLERS.items()}

    @functools.cached_property
    def _pixels(self) -> dict[str, Callable[..., tf.Tensor]]:
        """For each sampler, a graph of `sample_pixels`, which the graphs below share.

        Call `_pixels[name](given, uniforms, images, known, temperature)`. `given` is {"z1": (z1,), "label": (label,)};
        a tuple is empty if the model has no such input.
        """
        given = {"z1": self._latents[:1], "label": self._label}
        maps = [tf.TensorSpec((None, *self.config.image_shape), dtype) for dtype in (tf.float32, tf.uint8, tf.bool)]

        def traced(sampler: Sampler):
            def pixels(given, uniforms, images, known, temperature):
                z1, label = (given[name][0] if given[name] else None for name in ("z1", "label"))
                drawn = sampler.sample_pixels(self.model, z1, uniforms, images, known, temperature, label)
                return tf.cast(drawn, tf.uint8)

            return tf.function(pixels, input_signature=[given, *maps, tf.TensorSpec((), tf.float32)], autograph=False)

        return {name: traced(sampler) for name, sampler in SAMPLERS.items()}

    def _draw_pixels(self, name: str, z1, noise, temperature, label, images=None, known=None):
        """Draws the pixels that are not known; all without `images` and `known`."""
        if images is None:
            images, known = tf.zeros_like(noise, tf.uint8), tf.zeros((1, *self.config.image_shape), tf.bool)
        given = {"z1": () if z1 is None else (z1,), "label": () if label is None else (label,)}
        return self._pixels[name](given, noise, images, known, temperature)

    @functools.cached_property
    def draw(self) -> dict[str, Callable[..., tf.Tensor]]:
        """For each sampler, a graph that draws new images: `draw[name](noise, temperatures)`.

        `noise` is a `SamplingNoise`; `temperatures` (1 + levels,) are those of the pixels and of each level, z1 first.
        """
        noise = SamplingNoise(self._latents, tf.TensorSpec((None, *self.config.image_shape), tf.float32))

        def traced(name: str):
            def draw(noise, temperatures, label=None):
                latents = with_temperature(noise.latents, temperatures[1:])
                z1 = sample_latents(self.model, latents, self._levels[name], label)
                return self._draw_pixels(name, z1, noise.pixels, temperatures[0], label)

            return _traced(draw, noise, self._temperatures, *self._label)

        return {name: traced(name) for name in SAMPLERS}

    @functools.cached_property
    def noise_of(self) -> Callable[..., tuple]:
        """The noise from which the prior makes given latents, `noise_of(latents)`; `draw` makes images of it."""

        def noise_of(latents, label=None):
            priors = self.model.priors(latents, label=label)
            return tuple(prior.noise_of(z) for prior, z in zip(priors, latents, strict=True))

        return _traced(noise_of, self._latents, *self._label)

    @functools.cached_property
    def decode(self) -> dict[str, tuple[Callable[..., tf.Tensor], ...]]:
        """For each sampler and given level, a graph that draws images: `decode[name][level](z, noise, temperatures)`.

        `z` are latents of that level. `noise` contains the noise of the pixels and of the levels below. Temperatures
        are as for `draw`.
        """
        pixels = tf.TensorSpec((None, *self.config.image_shape), tf.float32)

        def traced(name: str, level: int):
            def decode(z, noise, temperatures, label=None):
                latents = with_temperature(noise.latents, temperatures[1:])
                z1 = sample_latents(self.model, latents, self._levels[name], label, given=z)
                return self._draw_pixels(name, z1, noise.pixels, temperatures[0], label)

            noise = SamplingNoise(self._latents[:level], pixels)
            return _traced(decode, self._latents[level], noise, self._temperatures, *self._label)

        levels = range(self.config.num_levels)
        return {name: tuple(traced(name, level) for level in levels) for name in SAMPLERS}

    @functools.cached_property
    def complete(self) -> dict[str, Callable[..., tf.Tensor]]:
        """For each sampler, a graph that keeps known pixels and draws the others, at a posterior sample of the images.

        Call `complete[name](images, known, seed, temperatures)`, with `known` (1 or batch, height, width, colors) bool
        and `seed` (2,), see `randomness.as_seed`.
        """
        known = tf.TensorSpec((None, *self.config.image_shape), tf.bool)
        seed = tf.TensorSpec((2,), tf.int32)

        def traced(name: str):
            def complete(images, known, seed, temperatures, label=None):
                noise = draw_noise(self.config, tf.shape(images)[0], seed)
                latents = with_temperature(noise.latents, temperatures[1:])
                samples = sample_posteriors(self.model.q_z_given_x(images, label), latents)
                z1 = samples[0] if samples else None
                return self._draw_pixels(name, z1, noise.pixels, temperatures[0], label, images, known)

            return _traced(complete, self._images, known, seed, self._temperatures, *self._label)

        return {name: traced(name) for name in SAMPLERS}


def _traced(function: Callable, *signature) -> Callable:
    @functools.wraps(function)
    def with_own_settings(*arguments):
        with own_settings():
            return in_few_sizes(function)(*arguments)

    return tf.function(with_own_settings, input_signature=signature, autograph=False)
