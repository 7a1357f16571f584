"""The unmasked networks: no pixel and no latent is lost, whatever the sides."""

import numpy as np
import pytest
from causality import dependence

from pixelvae_tf.networks.convolutional import ConvEncoder, Upsampler, halved_sides

SIDES = [(4, 4), (5, 7), (3, 8), (1, 6), (2, 3), (1, 1)]


def normal(*shape) -> np.ndarray:
    return np.random.normal(size=shape).astype("float32")


def test_sides_are_halved_and_rounded_up_as_in_the_paper():
    assert halved_sides(28, 28, 3) == [(28, 28), (14, 14), (7, 7), (4, 4)]
    assert halved_sides(5, 1, 2) == [(5, 1), (3, 1), (2, 1)]


@pytest.mark.parametrize("sides", SIDES)
def test_every_pixel_reaches_every_parameter_of_the_posterior(sides):
    strength = dependence(ConvEncoder(3, (8, 8)), normal(32, *sides, 2))
    assert strength.shape == (6, *sides, 2)
    assert np.all(strength > 0)


@pytest.mark.parametrize("stages", [1, 2, 3])
@pytest.mark.parametrize("sides", SIDES)
def test_every_latent_reaches_every_place_of_the_maps(sides, stages):
    strength = dependence(Upsampler(sides, (8,) * stages), normal(32, 3))
    assert strength.shape == (*sides, 8, 3)
    assert np.all((strength > 0).any(axis=2))


def test_the_encoder_of_mnist_has_the_papers_maps():
    encoder = ConvEncoder(16, (32, 64, 64))
    encoder.build((None, 28, 28, 1))
    convs = [conv for stage in encoder.stages for conv in stage] + encoder.last
    assert [(conv.kernel.shape[-2], conv.filters, conv.strides[0]) for conv in convs] == [
        (1, 32, 1),
        (32, 32, 2),
        (32, 32, 1),
        (32, 64, 2),
        (64, 64, 1),
        (64, 64, 2),
        (64, 64, 1),
        (64, 64, 1),
    ]
    assert tuple(encoder.parameters.kernel.shape) == (4 * 4 * 64, 2 * 16)


def test_the_decoder_of_mnist_has_the_papers_maps():
    decoder = Upsampler((28, 28), (32, 32, 64))
    decoder.build((None, 16))
    assert decoder.sides == [(4, 4), (7, 7), (14, 14), (28, 28)]
    assert tuple(decoder.linear.kernel.shape) == (16, 4 * 4 * 64)
    assert [conv.filters for conv in decoder.first] == [64, 64]
    assert [(up.filters, conv.filters) for up, conv in decoder.stages] == [(64, 64), (32, 32), (32, 32)]
