"""The noise of samples: normals for latents, uniforms for pixels.

All noise is drawn first and passed to a sampler, so every sampler makes the same image from the same noise.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pixelvae_tf.config import ModelConfig
from pixelvae_tf.errors import UserError
from pixelvae_tf.probability import randomness


class SamplingNoise(NamedTuple):
    """All the randomness of a batch of images.

    Attributes:
        latents: standard normals for each level, z1 first, (batch, channels) or (batch, height, width, channels).
        pixels: uniforms in [0, 1), (batch, height, width, colors).
    """

    latents: tuple[tf.Tensor, ...]
    pixels: tf.Tensor


def latent_noise(config: ModelConfig, batch_size, seed) -> tuple:
    """Draws standard normals for every level, z1 first, (batch, channels) or (batch, height, width, channels)."""
    return tuple(
        randomness.normal((batch_size, *shape), randomness.stream(seed, "latents", level))
        for level, shape in enumerate(config.latent_shapes)
    )


def replica_noise(config: ModelConfig, batch_size, seed) -> tuple:
    """Draws the latent noise of this replica's rows: its share of one device's noise for the global batch.

    Args:
        config: the configuration of the model.
        batch_size: rows of each replica, the same on all; replica r has the rows from r * batch_size onward.
        seed: the same on all replicas.
    """
    replica = tf.distribute.get_replica_context()
    # Noise is cheap compared with the network, so every replica draws all of it and keeps its own rows.
    noise = latent_noise(config, batch_size * replica.num_replicas_in_sync, seed)
    first = replica.replica_id_in_sync_group * batch_size
    return tuple(level[first : first + batch_size] for level in noise)


def pixel_noise(config: ModelConfig, batch_size, seed):
    """Draws uniforms for every pixel and color, (batch, height, width, colors)."""
    return randomness.uniform((batch_size, *config.image_shape), randomness.stream(seed, "pixels"))


def draw_noise(config: ModelConfig, batch_size, seed) -> SamplingNoise:
    """Draws the noise of `batch_size` images from one seed."""
    return SamplingNoise(latent_noise(config, batch_size, seed), pixel_noise(config, batch_size, seed))


def sources_of_noise(config: ModelConfig) -> list[str]:
    """Returns what Figure 6 can vary alone: "top" and "middle" levels of latents, if there are any, and "pixels"."""
    return ["top", "middle"][: config.num_levels] + ["pixels"]


def varying_noise(config: ModelConfig, rows: int, columns: int, vary: str, seed) -> SamplingNoise:
    """Draws the noise of a grid in which only one source varies along each row (Figure 6).

    Args:
        config: the configuration of the model.
        rows, columns: size of the grid; its rows are independent.
        vary: one of `sources_of_noise`; "middle" is every level of latents below the top.
        seed: seed of all the noise.

    Returns:
        The noise of rows * columns images, row after row.
    """
    fresh = draw_noise(config, rows * columns, randomness.stream(seed, "varied"))
    shared = tf.nest.map_structure(lambda noise: tf.repeat(noise, columns, axis=0), draw_noise(config, rows, seed))
    top = config.num_levels - 1
    latents = tuple(
        (fresh if vary == ("top" if level == top else "middle") else shared).latents[level]
        for level in range(config.num_levels)
    )
    return SamplingNoise(latents, (fresh if vary == "pixels" else shared).pixels)


def checked_temperatures(config: ModelConfig, temperature) -> tuple[float, ...]:
    """Returns the temperature of the pixels and of each level of latents, z1 first.

    Args:
        config: the configuration of the model.
        temperature: one number for all, or a number for each.

    Raises:
        UserError: for a wrong number of temperatures, or one that is not positive.
    """
    given = tuple(np.atleast_1d(temperature).tolist())
    count = 1 + config.num_levels
    if len(given) not in (1, count):
        raise UserError(
            f"{len(given)} temperatures: give one for all, or {count}: the pixels' and one for each level of latents"
        )
    for value in given:
        if not 0 < value < math.inf:
            raise UserError(f"temperature={value}: use a positive number; 1 is the model's own")
    return given if len(given) == count else given * count


def with_temperature(noise: tuple, temperatures) -> tuple:
    """Multiplies each level's noise by its temperature, z1 first, which scales its standard deviation."""
    return tuple(level * temperatures[index] for index, level in enumerate(noise))


def sample_posteriors(posteriors, noise) -> list:
    """Samples every level's posterior, z1 first, with the given noise."""
    return [posterior.sample(level_noise) for posterior, level_noise in zip(posteriors, noise, strict=True)]
