"""Ancestral sampling: latents from the top level down, then pixels in raster order.

The functions take the model as an argument and ask it for its conditional distributions only. All noise is drawn
first and handed in, so that the same noise gives the same image whatever computes it.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from pixelvae_tf import randomness
from pixelvae_tf.config import ModelConfig


class SamplingNoise(NamedTuple):
    """All the randomness of a batch of images.

    Attributes:
        latents: standard normals, (batch, channels) for each level, z1 first.
        pixels: uniforms in [0, 1), (batch, height, width, colors).
    """

    latents: tuple
    pixels: object


def latent_noise(config: ModelConfig, batch_size, seed) -> tuple:
    """Standard normals for every level, (batch, channels) each, z1 first."""
    return tuple(
        randomness.normal((batch_size, channels), randomness.stream(seed, "latents", level))
        for level, channels in enumerate(config.latent_channels)
    )


def pixel_noise(config: ModelConfig, batch_size, seed):
    """Uniforms for every pixel and color, (batch, height, width, colors)."""
    return randomness.uniform((batch_size, *config.image_shape), randomness.stream(seed, "pixels"))


def draw_noise(config: ModelConfig, batch_size, seed) -> SamplingNoise:
    """The noise of `batch_size` images from one seed."""
    return SamplingNoise(latent_noise(config, batch_size, seed), pixel_noise(config, batch_size, seed))


def sample_latents(model, noise: tuple):
    """Samples z_L, ..., z_1 from the prior and returns z1, (batch, channels); None for a model without latents."""
    z = None
    for level in reversed(range(model.config.num_levels)):
        z = noise[level] if z is None else model.p_lower_given_upper(level, z).sample(noise[level])
    return z


def sample_pixels_naive(model, z1, uniforms, images=None, known=None):
    """Samples x from p(x | z1), one full pass of the decoder for every pixel and color: slow, and the oracle.

    Args:
        model: a `PixelVAE`.
        z1: (batch, channels), or None for a model without latents.
        uniforms: (batch, height, width, colors) in [0, 1).
        images: integers of the same shape that hold the known pixels, or None.
        known: booleans that broadcast against the images: True keeps the given pixel; None keeps nothing.

    Returns:
        (batch, height, width, colors) integers 0..levels-1, int32.
    """
    if images is None:
        images, known = tf.zeros_like(uniforms, tf.int32), tf.zeros((1, *model.config.image_shape), tf.bool)
    known = tf.convert_to_tensor(known)
    images = tf.where(known, tf.cast(images, tf.int32), 0)
    if not model.config.pixelcnn_layers:
        # Without masked layers the pixels are independent given z: one pass gives them all.
        return tf.where(known, images, model.p_x_given_z1(images, z1).sample(uniforms))
    positions = tf.reshape(tf.range(model.config.num_dimensions), (1, *model.config.image_shape))

    def draw_position(position, images):
        drawn = model.p_x_given_z1(images, z1).sample(uniforms)
        return position + 1, tf.where((positions == position) & ~tf.convert_to_tensor(known), drawn, images)

    _, images = tf.while_loop(
        lambda position, _: position < model.config.num_dimensions,
        draw_position,
        (0, images),
        maximum_iterations=model.config.num_dimensions,
    )
    return images
