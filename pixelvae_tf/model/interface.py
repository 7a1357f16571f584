"""The methods of a model that users call: integer images in, arrays out, every random result from a seed."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pixelvae_tf.errors import UserError
from pixelvae_tf.probability import objectives, randomness
from pixelvae_tf.probability.objectives import ElboTerms
from pixelvae_tf.sampling import cached
from pixelvae_tf.sampling.naive import sample_latents_naive, sample_pixels_naive
from pixelvae_tf.sampling.noise import (
    SamplingNoise,
    checked_temperatures,
    draw_noise,
    latent_noise,
    sample_posteriors,
    sources_of_noise,
    varying_noise,
    with_temperature,
)

# Of latents and of pixels: the same images from the same noise.
_SAMPLERS = {
    "cached": (cached.sample_latents_cached, cached.sample_pixels_cached),
    "naive": (sample_latents_naive, sample_pixels_naive),
}

# Importance samples of few images are taken together, up to so many pixels in a pass of the network: a pass of less
# does not keep a core busy, and one of more takes more memory and is no faster.
PIXELS_A_PASS = 1 << 16


class Encoding(NamedTuple):
    """What inference finds for a batch: a tuple over levels (z1 first), of (batch, channels) or maps of latents."""

    mean: tuple
    scale: tuple
    sample: tuple


class ImageInterface:
    """Mixin of `PixelVAE`: checks what it is given, and traces each graph once for all batch sizes."""

    def elbo(self, images, seed: int = 0) -> ElboTerms:
        """The bound of each image and its parts, nats.

        Args:
            images: integers 0..levels-1, (batch, height, width, colors).
            seed: of the latent noise.

        Returns:
            `ElboTerms` of (batch,) arrays; `elbo` is -(reconstruction + sum of kl).

        Raises:
            ValueError: for images of another shape, type or range.
        """
        return tf.nest.map_structure(np.asarray, self._elbo(self.checked_images(images), seed))

    def log_likelihood(self, images, importance_samples: int = 50, seed: int = 0) -> np.ndarray:
        """The importance-sampled estimate of log p(x) of each image, nats; exact for a model without latents.

        Args:
            images: integers 0..levels-1, (batch, height, width, colors).
            importance_samples: latent samples an image; in expectation a bound that rises with it.
            seed: of the latent noise.

        Returns:
            (batch,) float32.

        Raises:
            ValueError: for images of another shape, type or range, or fewer than one sample.
        """
        if importance_samples < 1:
            raise ValueError(f"importance_samples={importance_samples}: use 1 or more")
        images = self.checked_images(images)
        return np.asarray(self._log_likelihood(images, tf.constant(importance_samples), seed))

    def encode(self, images, seed: int = 0) -> Encoding:
        """Posterior means, scales and samples of every level.

        Args:
            images: integers 0..levels-1, (batch, height, width, colors).
            seed: of the samples.

        Returns:
            `Encoding` of tuples over levels, z1 first, of (batch, channels) or (batch, height, width, channels)
            arrays.

        Raises:
            ValueError: for images of another shape, type or range.
        """
        return tf.nest.map_structure(np.asarray, self._encode(self.checked_images(images), seed))

    def sample(self, num_samples: int, seed: int = 0, temperature=1.0, method: str = "cached") -> np.ndarray:
        """Draws images from the model.

        Args:
            num_samples: images.
            seed: of all the noise.
            temperature: under 1 keeps to likely values; one number for all, or a sequence of one for the pixels and
                one for each level of latents, z1 first. It divides logits and multiplies the scales of latents.
            method: "cached", or "naive" for a full pass of the decoder for every pixel: slow, with the same images.

        Returns:
            (num_samples, height, width, colors) uint8.

        Raises:
            ValueError: for fewer than one sample, a temperature that is not positive, or an unknown method.
        """
        if num_samples < 1:
            raise ValueError(f"num_samples={num_samples}: use 1 or more")
        return self._drawn(draw_noise(self.config, num_samples, seed), temperature, method)

    def sample_varying(
        self, vary: str, rows: int, columns: int, seed: int = 0, temperature=1.0, method: str = "cached"
    ) -> np.ndarray:
        """Draws a grid in which one level's noise varies along a row and all else is the same there (Figure 6).

        Args:
            vary: "top" (the topmost level of latents), "middle" (the levels below it) or "pixels".
            rows: independent draws of what is held constant.
            columns: draws of what varies.
            seed: of all the noise.
            temperature, method: see `sample`.

        Returns:
            (rows * columns, height, width, colors) uint8, row after row.

        Raises:
            ValueError: for a level that the model does not have, or an empty grid, and as `sample`.
        """
        known = sources_of_noise(self.config)
        if vary not in known:
            raise ValueError(f"vary={vary!r}: this model has {', '.join(known)}")
        if rows < 1 or columns < 1:
            raise ValueError(f"rows={rows}, columns={columns}: use 1 or more")
        noise = varying_noise(self.config, rows, columns, vary, seed)
        return self._drawn(noise, temperature, method)

    def _drawn(self, noise: SamplingNoise, temperature, method: str) -> np.ndarray:
        temperatures = checked_temperatures(self.config, temperature)
        return np.asarray(self._draw[_checked_method(method)](noise, tf.constant(temperatures, tf.float32)))

    def reconstruct(self, images, seed: int = 0, temperature=1.0, method: str = "cached") -> np.ndarray:
        """Draws images from p(x | z1) at a posterior sample of z1 for each given image, uint8.

        Args:
            images: integers 0..levels-1, (batch, height, width, colors).
            seed: of all the noise.
            temperature, method: see `sample`; here the latents' temperatures are of the posterior.

        Raises:
            ValueError: for images of another shape, type or range, and as `sample`.
        """
        images = self.checked_images(images)
        return self._continued(images, np.zeros((1, *self.config.image_shape), bool), seed, temperature, method)

    def complete(
        self,
        images,
        keep_rows: int | None = None,
        seed: int = 0,
        temperature=1.0,
        method: str = "cached",
        *,
        mask=None,
        refinements: int = 0,
    ) -> np.ndarray:
        """Keeps the first rows of each image, or the pixels of a mask, and draws all others from the model, uint8.

        The unknown pixels are drawn in raster order, each given all those before it, known and drawn. What comes
        after a pixel reaches it through the latents alone: they are drawn from the posterior of the image whose
        unknown pixels are blank, since the model gives no posterior of a part of an image. An encoder takes blank for
        black; where that shows, refine: latents from the posterior of the completed image, and the unknown pixels
        anew (the Markov chain of Rezende et al. 2014).

        Args:
            images: integers 0..levels-1, (batch, height, width, colors).
            keep_rows: rows to keep; or
            mask: bool, (height, width) for all images or (batch, height, width): True where a pixel is kept, in all
                of its colors.
            seed: of all the noise.
            temperature, method: see `reconstruct`.
            refinements: times to refine, each as long as the first drawing; without latents there is nothing to.

        Raises:
            ValueError: for images of another shape, type or range, for both or neither of rows and mask, rows outside
                0..height, a mask of another shape or type, fewer than 0 refinements, and as `sample`.
        """
        images = self.checked_images(images)
        known = self.checked_mask(keep_rows, mask)
        if len(known) not in (1, len(images)):
            raise UserError(f"mask of shape {known.shape}: there are {len(images)} images; give one mask, or as many")
        if refinements < 0:
            raise UserError(f"refinements={refinements}: use 0 or more")
        known = np.broadcast_to(known[..., None], (len(known), *self.config.image_shape))
        images = self._continued(np.where(known, images, 0).astype("uint8"), known, seed, temperature, method)
        for index in range(refinements if self.config.num_levels else 0):
            own_seed = randomness.stream(seed, "refinements", index)
            images = self._continued(images, known, own_seed, temperature, method)
        return images

    def checked_mask(self, keep_rows: int | None = None, mask=None) -> np.ndarray:
        """Which pixels `complete` keeps, (1 or batch, height, width) bool. Raises ValueError as it does."""
        if (keep_rows is None) == (mask is None):
            raise UserError("keep_rows, mask: give one of the two, to say which pixels are kept")
        height, width, _ = self.config.image_shape
        if mask is None:
            if not 0 <= keep_rows <= height:
                raise UserError(f"keep_rows={keep_rows}: the images have {height} rows; use 0 to {height}")
            return np.broadcast_to((np.arange(height) < keep_rows)[None, :, None], (1, height, width))
        mask = np.asarray(mask)
        if mask.dtype != bool or mask.ndim not in (2, 3) or mask.shape[-2:] != (height, width):
            raise UserError(
                f"mask of shape {mask.shape} and type {mask.dtype}: give ({height}, {width}) or (batch, {height}, "
                f"{width}) bool, True where a pixel is kept"
            )
        return mask if mask.ndim == 3 else mask[None]

    def _continued(self, images, known, seed, temperature, method: str) -> np.ndarray:
        temperatures = checked_temperatures(self.config, temperature)
        go_on = self._continue[_checked_method(method)]
        return np.asarray(go_on(images, known, randomness.as_seed(seed), tf.constant(temperatures, tf.float32)))

    def checked_images(self, images) -> np.ndarray:
        """The images as a uint8 array. Raises ValueError for another shape, type or range."""
        images = np.asarray(images)
        shape, levels = self.config.image_shape, self.config.pixel_levels
        if images.ndim != 4 or images.shape[1:] != shape or not len(images):
            raise ValueError(f"images of shape {images.shape}: this model takes (batch, {', '.join(map(str, shape))})")
        if not np.issubdtype(images.dtype, np.integer):
            raise ValueError(f"images of type {images.dtype}: give integers 0..{levels - 1}, for example uint8")
        if images.size and (images.min() < 0 or images.max() >= levels):
            raise ValueError(f"pixels {images.min()}..{images.max()}: this model takes 0..{levels - 1}")
        return images.astype("uint8")

    # Graphs behind the public interface, traced once for all batch sizes.

    @functools.cached_property
    def _elbo(self):
        def elbo(images, seed):
            return self.elbo_terms(images, latent_noise(self.config, tf.shape(images)[0], seed))

        return self._traced(elbo, self._image_spec, _INTEGER)

    @functools.cached_property
    def _log_likelihood(self):
        height, width, _ = self.config.image_shape
        noise_spec = tuple(tf.TensorSpec((None, *shape), tf.float32) for shape in self.config.latent_shapes)

        def log_likelihood(images, importance_samples, seed):
            if not self.config.num_levels:
                return -self.reconstruction(images, [])
            posteriors = self.q_z_given_x(images)
            batch = tf.shape(images)[0]
            at_once = tf.maximum(1, PIXELS_A_PASS // (batch * height * width))

            def noise_of(index):
                return latent_noise(self.config, batch, randomness.stream(seed, "latents", index))

            def add_samples(first, log_total):
                count = tf.minimum(at_once, importance_samples - first)

                def repeated(array):
                    return tf.tile(array, [count, *[1] * (array.shape.rank - 1)])

                noise = tf.map_fn(noise_of, tf.range(first, first + count), fn_output_signature=noise_spec)
                noise = tuple(tf.reshape(level, (-1, *level.shape[2:])) for level in noise)
                of_images = tf.nest.map_structure(repeated, (images, posteriors))
                log_weights = tf.reshape(self.log_importance_weight(*of_images, noise), (count, batch))
                together = tf.reduce_logsumexp(log_weights, axis=0)
                return first + count, objectives.accumulate_log_weight(log_total, together)

            # Some samples after others: memory does not grow with their number.
            _, log_total = tf.while_loop(
                lambda first, _: first < importance_samples, add_samples, (0, tf.fill([batch], -float("inf")))
            )
            return log_total - tf.math.log(tf.cast(importance_samples, tf.float32))

        return self._traced(log_likelihood, self._image_spec, _INTEGER, _INTEGER)

    @functools.cached_property
    def _encode(self):
        def encode(images, seed):
            posteriors = self.q_z_given_x(images)
            noise = latent_noise(self.config, tf.shape(images)[0], seed)
            samples = sample_posteriors(posteriors, noise)
            return Encoding(tuple(q.mean for q in posteriors), tuple(q.scale for q in posteriors), tuple(samples))

        return self._traced(encode, self._image_spec, _INTEGER)

    @functools.cached_property
    def _draw(self):
        shapes = SamplingNoise(self.config.latent_shapes, self.config.image_shape)
        latents = tuple(tf.TensorSpec((None, *shape), tf.float32) for shape in shapes.latents)
        noise = SamplingNoise(latents, tf.TensorSpec((None, *shapes.pixels), tf.float32))

        def traced(sample_latents, sample_pixels):
            def draw(noise, temperatures):
                z1 = sample_latents(self, with_temperature(noise.latents, temperatures[1:]))
                return tf.cast(sample_pixels(self, z1, noise.pixels, temperature=temperatures[0]), tf.uint8)

            return self._traced(draw, noise, self._temperatures_spec)

        return {method: traced(*functions) for method, functions in _SAMPLERS.items()}

    @functools.cached_property
    def _continue(self):
        known = tf.TensorSpec((None, *self.config.image_shape), tf.bool)
        seed = tf.TensorSpec((2,), tf.int32)

        def traced(_, sample_pixels):
            def continue_images(images, known, seed, temperatures):
                noise = draw_noise(self.config, tf.shape(images)[0], seed)
                latents = with_temperature(noise.latents, temperatures[1:])
                samples = sample_posteriors(self.q_z_given_x(images), latents)
                z1 = samples[0] if samples else None
                return tf.cast(sample_pixels(self, z1, noise.pixels, images, known, temperatures[0]), tf.uint8)

            return self._traced(continue_images, self._image_spec, known, seed, self._temperatures_spec)

        return {method: traced(*functions) for method, functions in _SAMPLERS.items()}

    @property
    def _temperatures_spec(self):
        return tf.TensorSpec((1 + self.config.num_levels,), tf.float32)

    @property
    def _image_spec(self):
        return tf.TensorSpec((None, *self.config.image_shape), tf.uint8)

    def _traced(self, function, *signature):
        return tf.function(function, input_signature=signature, autograph=False)

    def bound_graph(self):
        """The TensorFlow graph of the bound, for TensorBoard."""
        return self._elbo.get_concrete_function().graph


def _checked_method(method: str) -> str:
    if method not in _SAMPLERS:
        raise ValueError(f"method={method!r}: choose one of {', '.join(_SAMPLERS)}")
    return method


_INTEGER = tf.TensorSpec((), tf.int32)
