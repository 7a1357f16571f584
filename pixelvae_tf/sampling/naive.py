"""Sampling with a full pass of the network for every value: slow, and the oracle of the cached sampler.

Latents from the top level down, then pixels in raster order. The functions ask the model for its conditional
distributions only, and take all noise as an argument.
"""

from __future__ import annotations

import tensorflow as tf

from pixelvae_tf.sampling.ancestral import sample_latents


def sample_latents_naive(model, noise: tuple, label=None):
    """`sample_latents` with a full pass of its decoder for every position of a level of maps."""
    return sample_latents(model, noise, draw_level_naive, label)


def draw_level_naive(model, level: int, condition: dict, noise):
    """A level of maps, (batch, height, width, channels), a full pass of its decoder for every position.

    Args:
        model: a `PixelVAE`.
        level: of the latents, 0 for z1.
        condition: what the level's decoder needs of the level above.
        noise: standard normals, (batch, height, width, channels).
    """

    def redraw(z):
        return model.p_z_given_upper(level, z, condition).sample(noise)

    height, width, _ = model.config.latent_shapes[level]
    return in_raster_order(redraw, tf.zeros_like(noise), tf.reshape(tf.range(height * width), (1, height, width, 1)))


def sample_pixels_naive(model, z1, uniforms, images=None, known=None, temperature=1.0, label=None):
    """Samples x from p(x | z1), one full pass of the decoder for every pixel and color: slow, and the oracle.

    Args:
        model: a `PixelVAE`.
        z1: a sample of z1, or None for a model without latents.
        uniforms: (batch, height, width, colors) in [0, 1).
        images: integers of the same shape that hold the known pixels, or None.
        known: booleans that broadcast against the images: True keeps the given pixel; None keeps nothing.
        temperature: of the pixels; 1 is the model's own.
        label: (batch,) classes of the images; None for a model without labels.

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
