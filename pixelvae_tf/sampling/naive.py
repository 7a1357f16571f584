"""Samples with a full pass of the network for every value: slow, but the reference for the cached sampler.

It draws the latents from the top level down, then the pixels in raster order. The functions use only the model's
conditional distributions, and take all noise as an argument.
"""

from __future__ import annotations

import tensorflow as tf

from pixelvae_tf.sampling.ancestral import sample_latents


def sample_latents_naive(model, noise: tuple, label=None):
    """Does `sample_latents` with a full pass of the decoder for every position of a level of maps."""
    return sample_latents(model, noise, draw_level_naive, label)


def draw_level_naive(model, level: int, condition: dict, noise):
    """Draws a level of maps, (batch, height, width, channels), with a full pass of its decoder for every position.

    Args:
        model: a `PixelVAE`.
        level: number of the level, 0 for z1.
        condition: the decoder's condition on the level above.
        noise: standard normals, (batch, height, width, channels).
    """

    def redraw(z):
        return model.p_z_given_upper(level, z, condition).sample(noise)

    height, width, _ = model.config.latent_shapes[level]
    return in_raster_order(redraw, tf.zeros_like(noise), tf.reshape(tf.range(height * width), (1, height, width, 1)))


def sample_pixels_naive(model, z1, uniforms, images=None, known=None, temperature=1.0, label=None):
    """Samples x from p(x | z1) with a full pass of the decoder for every pixel and color.

    Args:
        model: a `PixelVAE`.
        z1: a sample of z1, or None for a model without latents.
        uniforms: (batch, height, width, colors) in [0, 1).
        images: integers of the same shape with the known pixels, or None.
        known: booleans that broadcast against the images: True keeps the given pixel; None keeps none.
        temperature: temperature of the pixels; 1 is the model's own.
        label: classes of the images, (batch,); None for a model without labels.

    Returns:
        (batch, height, width, colors) integers 0..levels-1, int32.
    """
    shape = (1, *model.config.image_shape)
    if images is None:
        images, known = tf.zeros_like(uniforms, tf.int32), tf.zeros(shape, tf.bool)
    known = tf.convert_to_tensor(known)
    images = tf.where(known, tf.cast(images, tf.int32), 0)
    condition = model.pixel_decoder.condition(z1, label)

    def redraw(images):
        p_x = model.p_x_given_z1(images, condition).with_temperature(temperature)
        return tf.where(known, images, p_x.sample(uniforms))

    if model.pixel_decoder.masked is None:
        # Without masked layers the pixels are independent given z: one pass draws them all.
        return redraw(images)
    return in_raster_order(redraw, images, tf.reshape(tf.range(model.config.num_dimensions), shape))


def in_raster_order(redraw, values, order, turns: int | None = None):
    """Fills `values` position by position: each turn redraws all values and keeps the one whose turn it is.

    Args:
        redraw: maps values to values of the same shape, causal in `order`.
        values: (batch, height, width, channels).
        order: the turn of each value, from 0 without gaps; broadcasts against the values.
        turns: number of turns to take; by default all.
    """
    turns = order.shape.num_elements() if turns is None else turns

    def take_turn(turn, values):
        return turn + 1, tf.where(order == turn, redraw(values), values)

    _, values = tf.while_loop(lambda turn, _: turn < turns, take_turn, (0, values), maximum_iterations=turns)
    return values
