"""Methods for latents as codes: decode given latents, and interpolate between two images."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from pixelvae_tf.config import ModelConfig
from pixelvae_tf.errors import UserError
from pixelvae_tf.model import checks
from pixelvae_tf.model.averaging import AveragedModel
from pixelvae_tf.model.graphs import checked_sampler
from pixelvae_tf.sampling.interpolation import PATHS, points_between
from pixelvae_tf.sampling.noise import SamplingNoise, checked_temperatures, draw_noise, pixel_noise, sources_of_noise


class CodedModel(AveragedModel):
    """A model whose latents are codes of images. Its methods use only `config` and `graphs`."""

    def decode(
        self, z, seed: int = 0, temperature=1.0, method: str = "cached", *, same_noise: bool = False, label=None
    ) -> np.ndarray:
        """Draws images from p(x | z) at given latents.

        The image depends on the lowest given level. Levels below it are drawn from the prior, as in `sample`. Levels
        above it have no further effect.

        Args:
            z: an array of z1, (batch, channels) or (batch, height, width, channels); or a list or tuple over the
                levels, z1 first, as `encode` returns it, with None for a level to draw: `[None, z2]`.
            seed: seed of the noise of the pixels and of the levels to draw.
            temperature, method: see `sample`; temperatures of given levels have no effect.
            same_noise: draw all images with the noise of a single one, so that they differ only in z.
            label: for a model of classes: the class of all images 0..classes-1, or an array (batch,).

        Returns:
            (batch, height, width, colors) uint8. `decode(encode(images, seed).sample, seed)` is
            `reconstruct(images, seed)`.

        Raises:
            ValueError: for a model without latents, for latents with a wrong number of levels, shape or type, and as
                `sample` does.
        """
        seed = checks.seed_outside_graphs(seed, "decode")
        self._check_latents("decode")
        level, z = checks.latents_outside_graphs(z, self.config)
        label = checks.labels_outside_graphs(label, len(z), self.config)
        temperatures = tf.constant(checked_temperatures(self.config, temperature), tf.float32)
        noise = noise_below(self.config, level, len(z), seed, bool(same_noise))
        return np.asarray(self.graphs.decode[checked_sampler(method)][level](z, noise, temperatures, *label))

    def interpolate(
        self,
        images_a,
        images_b,
        steps: int = 8,
        seed: int = 0,
        temperature: float = 1.0,
        method: str = "cached",
        *,
        path: str = "sphere",
        vary: str = "all",
        label=None,
    ) -> np.ndarray:
        """Draws images at latents between those of two images, with the same pixel noise on the whole path.

        The latents of an image are its posterior means. The path runs in the space of the noise from which the prior
        makes latents: for a standard normal prior the latents themselves, for a flow its base space, and for z1 below
        z2 the noise that p(z1 | z2) turns into z1. Under the prior this noise is standard normal, and nearly all its
        mass is at one distance from 0. The default path keeps the distances of its ends. A straight line would pass
        through the middle, where the prior has hardly any mass.

        Args:
            images_a, images_b: start and end: integers 0..levels-1, (batch, height, width, colors) each.
            steps: number of images on the path, including both ends: at least 2.
            seed: seed of the pixel noise.
            temperature: temperature of the pixels, one number; see `sample`.
            method: see `sample`.
            path: "sphere" (the arc, see `interpolation.points_between`) or "line".
            vary: which noise changes, as in `sample_varying`: that of "all" levels, of the "top" level, or of the
                "middle" levels below it. All other noise stays that of the first image.
            label: for a model of classes: the class of all pairs, or an array (batch,).

        Returns:
            (batch, steps, height, width, colors) uint8. The first are `decode(encode(images_a).mean, seed)`. If all
            levels change, the last are the same for `images_b`, up to rounding of the latents.

        Raises:
            ValueError: for a model without latents, images of a wrong shape, type or range, different numbers of
                images, fewer than 2 steps, an unknown path, a level that the model does not have, and as `sample` does.
        """
        seed = checks.seed_outside_graphs(seed, "interpolate")
        self._check_latents("interpolate")
        images = [checks.images_outside_graphs(given, self.config) for given in (images_a, images_b)]
        count = len(images[0])
        if len(images[1]) != count:
            raise UserError(f"images_a, images_b: are {count} and {len(images[1])} images; give as many of each")
        steps = checks.whole_number(steps, "steps", least=2)
        if path not in PATHS:
            raise UserError(f"path={path!r}: choose one of {', '.join(PATHS)}")
        moving = self._moving_levels(vary)
        temperature = checks.one_temperature(temperature)
        label = checks.labels_outside_graphs(label, count, self.config)
        starts, ends = (self.graphs.noise_of(self.graphs.encode(given, seed, *label).mean, *label) for given in images)
        ends = [end if level in moving else starts[level] for level, end in enumerate(ends)]
        latents = tuple(
            points_between(np.asarray(start), np.asarray(end), steps, path).reshape(-1, *start.shape[1:])
            for start, end in zip(starts, ends, strict=True)
        )
        noise = SamplingNoise(latents, np.repeat(pixel_noise(self.config, count, seed), steps, axis=0))
        temperatures = tf.constant([temperature] + [1.0] * self.config.num_levels, tf.float32)
        draw = self.graphs.draw[checked_sampler(method)]
        drawn = draw(noise, temperatures, *(np.repeat(of_pairs, steps) for of_pairs in label))
        return np.asarray(drawn).reshape(count, steps, *self.config.image_shape)

    def _check_latents(self, method: str) -> None:
        if not self.config.num_levels:
            raise UserError(
                f"{method}: this model has no latents (its latent_channels are empty); use sample or complete"
            )

    def _moving_levels(self, vary: str) -> set[int]:
        top = self.config.num_levels - 1
        levels = {"all": set(range(top + 1)), "top": {top}, "middle": set(range(top))}
        known = ["all", *sources_of_noise(self.config)[:-1]]
        if vary not in known:
            raise UserError(f"vary={vary!r}: between two images this model can vary {', '.join(known)}")
        return levels[vary]


def noise_below(config: ModelConfig, level: int, count, seed, same_noise) -> SamplingNoise:
    """Draws the noise of the pixels and of the levels below `level`; with `same_noise` all images share that of one.

    In a graph, `count` and `same_noise` are scalar tensors.
    """
    noise = draw_noise(config, tf.where(same_noise, 1, count), seed)
    noise = SamplingNoise(noise.latents[:level], noise.pixels)
    return tf.nest.map_structure(lambda part: tf.broadcast_to(part, (count, *part.shape[1:])), noise)
