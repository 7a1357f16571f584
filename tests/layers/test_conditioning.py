"""The biases that a latent vector gives to many units, against one linear map for each unit."""

import numpy as np
import pytest

from pixelvae_tf.layers.conditioning import UnitBiases

SIZES = (4, 6, 2)


@pytest.mark.parametrize("weight_normalization", [True, False])
def test_the_shared_product_equals_a_linear_map_for_each_unit(weight_normalization):
    layer = UnitBiases(SIZES, weight_normalization)
    z = np.random.normal(size=(3, 5)).astype("float32")
    layer.build(z.shape)
    layer.set_weights([np.random.normal(size=weight.shape) for weight in layer.weights])
    kernel, bias = layer.linear.kernel.numpy(), layer.linear.bias.numpy()
    start = 0
    for size, found in zip(SIZES, layer(z), strict=True):
        columns = slice(start, start + size)
        weights = kernel[:, columns]
        if weight_normalization:
            weights = layer.linear.gain.numpy()[columns] * weights / np.linalg.norm(weights, axis=0)
        np.testing.assert_allclose(found[:, 0, 0], z @ weights + bias[columns], rtol=1e-4, atol=1e-4)
        start += size
    assert start == kernel.shape[1]


def test_without_latents_they_are_plain_learned_biases_that_start_at_zero():
    layer = UnitBiases(SIZES)
    for part, size in zip(layer(), SIZES, strict=True):
        np.testing.assert_array_equal(part, np.zeros((1, 1, 1, size)))
    values = np.random.normal(size=sum(SIZES)).astype("float32")
    layer.bias.assign(values)
    np.testing.assert_array_equal(np.concatenate([part[0, 0, 0] for part in layer()]), values)


def test_fresh_maps_of_z_are_a_quarter_as_wide_as_those_of_a_layer_of_its_own():
    """The wide matrix of many layers must not lower the limit further, which would hide z from every unit."""
    layer = UnitBiases([8] * 20)
    layer.build((None, 16))
    largest = np.abs(layer.linear.kernel.numpy()).max()
    limit = 0.25 * np.sqrt(6.0 / (16 + 8))
    assert 0.98 * limit < largest <= limit
