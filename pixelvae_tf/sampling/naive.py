"""Sampling with a full pass of the network for every value: slow, and the oracle of the cached sampler.

Latents from the top level down, then pixels in raster order. The functions ask the model for its conditional
distributions only, and take all noise as an argument.
"""

from __future__ import annotations

import tensorflow as tf


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
