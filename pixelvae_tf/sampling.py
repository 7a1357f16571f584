"""Ancestral sampling: latents from the top level down, then pixels in raster order.

The functions take the model as an argument and ask it for its conditional distributions only. All noise is drawn
first and handed in, so that the same noise gives the same image whatever computes it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pixelvae_tf import randomness
from pixelvae_tf.config import ModelConfig
from pixelvae_tf.errors import UserError


class SamplingNoise(NamedTuple):
    """All the randomness of a batch of images.

    Attributes:
        latents: standard normals for each level, z1 first, (batch, channels) or (batch, height, width, channels).
        pixels: uniforms in [0, 1), (batch, height, width, colors).
    """

    latents: tuple
    pixels: object


def latent_noise(config: ModelConfig, batch_size, seed) -> tuple:
    """Standard normals for every level, z1 first, (batch, channels) or (batch, height, width, channels)."""
    return tuple(
        randomness.normal((batch_size, *shape), randomness.stream(seed, "latents", level))
        for level, shape in enumerate(config.latent_shapes)
    )


def replica_noise(config: ModelConfig, batch_size, seed) -> tuple:
    """The latent noise of this replica's rows: its part of what one device would draw for the whole global batch.

    Args:
        config: of the model.
        batch_size: rows of each replica, the same on all; replica r has the rows from r * batch_size onward.
        seed: the same on all replicas.
    """
    replica = tf.distribute.get_replica_context()
    # Noise is cheap beside the network: every replica draws all of it and keeps its own rows.
    noise = latent_noise(config, batch_size * replica.num_replicas_in_sync, seed)
    first = replica.replica_id_in_sync_group * batch_size
    return tuple(level[first : first + batch_size] for level in noise)


def pixel_noise(config: ModelConfig, batch_size, seed):
    """Uniforms for every pixel and color, (batch, height, width, colors)."""
    return randomness.uniform((batch_size, *config.image_shape), randomness.stream(seed, "pixels"))


def draw_noise(config: ModelConfig, batch_size, seed) -> SamplingNoise:
    """The noise of `batch_size` images from one seed."""
    return SamplingNoise(latent_noise(config, batch_size, seed), pixel_noise(config, batch_size, seed))


def sources_of_noise(config: ModelConfig) -> list[str]:
    """What Figure 6 can vary alone: "top" and "middle" levels of latents, where there are such, and "pixels"."""
    return ["top", "middle"][: config.num_levels] + ["pixels"]


def varying_noise(config: ModelConfig, rows: int, columns: int, vary: str, seed) -> SamplingNoise:
    """Noise of a grid in which one source varies along a row and all others are the same there (Figure 6).

    Args:
        config: of the model.
        rows, columns: of the grid; its rows are independent.
        vary: one of `sources_of_noise`; "middle" is every level of latents below the top.
        seed: of all the noise.

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
    """The temperature of the pixels and of each level of latents, z1 first.

    Args:
        config: of the model.
        temperature: one number for all, or one for each of these.

    Raises:
        UserError: for another count, or a temperature that is not positive.
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
    """The latent noise at which each level's scale is multiplied by its temperature, z1 first."""
    return tuple(level * temperatures[index] for index, level in enumerate(noise))


def sample_posteriors(posteriors, noise) -> list:
    """A sample of every level's posterior, z1 first, with the given noise."""
    return [posterior.sample(level_noise) for posterior, level_noise in zip(posteriors, noise, strict=True)]


def sample_latents_naive(model, noise: tuple):
    """Samples z_L, ..., z_1 from the prior, a full pass of its decoder for every position of a level of maps.

    Args:
        model: a `PixelVAE`.
        noise: standard normals for every level, z1 first.

    Returns:
        z1, (batch, channels) or (batch, height, width, channels); None for a model without latents.
    """
    z = None
    for level in reversed(range(model.config.num_levels)):
        if z is None:
            z = model.p_topmost(noise[level]).sample(noise[level])
        else:
            z = _sample_level_naive(model, level, z, noise[level])
    return z


def _sample_level_naive(model, level: int, z_upper, noise):
    decoder = model.latent_decoders[level]
    condition = decoder.condition(z_upper)
    if decoder.masked is None:
        return model.p_z(level, noise, condition).sample(noise)

    def redraw(z):
        return model.p_z(level, z, condition).sample(noise)

    height, width, _ = model.config.latent_shapes[level]
    return in_raster_order(redraw, tf.zeros_like(noise), tf.reshape(tf.range(height * width), (1, height, width, 1)))


def sample_pixels_naive(model, z1, uniforms, images=None, known=None, temperature=1.0):
    """Samples x from p(x | z1), one full pass of the decoder for every pixel and color: slow, and the oracle.

    Args:
        model: a `PixelVAE`.
        z1: a sample of z1, or None for a model without latents.
        uniforms: (batch, height, width, colors) in [0, 1).
        images: integers of the same shape that hold the known pixels, or None.
        known: booleans that broadcast against the images: True keeps the given pixel; None keeps nothing.
        temperature: of the pixels; 1 is the model's own.

    Returns:
        (batch, height, width, colors) integers 0..levels-1, int32.
    """
    shape = (1, *model.config.image_shape)
    if images is None:
        images, known = tf.zeros_like(uniforms, tf.int32), tf.zeros(shape, tf.bool)
    known = tf.convert_to_tensor(known)
    images = tf.where(known, tf.cast(images, tf.int32), 0)
    condition = model.pixel_decoder.condition(z1)

    def redraw(images):
        p_x = model.p_x(images, condition).with_temperature(temperature)
        return tf.where(known, images, p_x.sample(uniforms))

    if model.pixel_decoder.masked is None:
        # Without masked layers the pixels are independent given z: one pass gives them all.
        return redraw(images)
    return in_raster_order(redraw, images, tf.reshape(tf.range(model.config.num_dimensions), shape))


def in_raster_order(redraw, values, order, turns: int | None = None):
    """Fills `values` position by position: `redraw` gives all of them anew, of which the one whose turn it is stays.

    Args:
        redraw: values to values of the same shape, causal in `order`.
        values: (batch, height, width, channels).
        order: the turn of each value, whole numbers from 0 without gaps, broadcasting against the values.
        turns: how many to take, by default all.
    """
    turns = order.shape.num_elements() if turns is None else turns

    def take_turn(turn, values):
        return turn + 1, tf.where(order == turn, redraw(values), values)

    _, values = tf.while_loop(lambda turn, _: turn < turns, take_turn, (0, values), maximum_iterations=turns)
    return values
