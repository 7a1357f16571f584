"""Samples the levels of latents from the top down, with any sampler for a level."""

from __future__ import annotations

from collections.abc import Callable


def sample_latents(model, noise: tuple, draw_level: Callable, label=None, given=None):
    """Samples z_L, ..., z_1 from the prior, each level given the one above it; or only the levels below a given one.

    Args:
        model: a `PixelVAE`.
        noise: standard normals for every level to draw, z1 first.
        draw_level: draws a level of maps position by position: `draw_level(model, level, condition, noise)`, with the
            decoder's condition on the level above, and the noise of the level.
        label: classes of the images, (batch,); None for a model without labels.
        given: latents of the level above the drawn levels; None to draw all levels.

    Returns:
        z1, (batch, channels) or (batch, height, width, channels); None for a model without latents.
    """
    z = given
    for level in reversed(range(len(noise))):
        if z is None:
            z = model.p_topmost(noise[level], label).sample(noise[level])
            continue
        decoder = model.latent_decoders[level]
        condition = decoder.condition(z, label)
        if decoder.masked is None:
            # Without masked layers the positions are independent given the level above: one pass draws them all.
            z = model.p_z_given_upper(level, noise[level], condition).sample(noise[level])
        else:
            z = draw_level(model, level, condition, noise[level])
    return z
