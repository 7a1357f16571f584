"""Residual networks: sides, sub-pixel order, and batch normalization that is honest in evaluation."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pixelvae_tf.networks.residual import (
    LATENT_LIMIT,
    ResidualBlock,
    ResidualEncoder,
    ResidualUpsampler,
    depth_to_space,
)


def test_depth_to_space_is_tensorflows():
    maps = np.random.default_rng(0).normal(size=(2, 3, 5, 12)).astype("float32")
    np.testing.assert_array_equal(depth_to_space(maps), tf.nn.depth_to_space(maps, 2))


@pytest.mark.parametrize("resample", [None, "down", "up"])
def test_a_block_without_weights_is_its_shortcut(resample):
    maps = np.random.default_rng(0).normal(size=(2, 4, 6, 3)).astype("float32")
    block = ResidualBlock(3, resample)
    block(maps)
    for conv in (block.first, block.second):
        conv.gain.assign(tf.zeros_like(conv.gain))
    found = block(maps)
    if resample is None:
        np.testing.assert_array_equal(found, maps)
    else:
        expected = block.shortcut(maps)
        np.testing.assert_array_equal(found, depth_to_space(expected) if resample == "up" else expected)
    assert found.shape == block.compute_output_shape(maps.shape)


def test_evaluation_of_an_image_does_not_depend_on_its_batch():
    generator = np.random.default_rng(0)
    block = ResidualBlock(4)
    block(generator.normal(size=(8, 4, 4, 3)).astype("float32"), training=True)
    maps = generator.normal(size=(6, 4, 4, 3)).astype("float32")
    whole = block(maps)
    np.testing.assert_allclose(np.concatenate([block(maps[:1]), block(maps[1:])]), whole, atol=1e-6)
    # In training it does, which is what batch normalization is.
    assert not np.allclose(block(maps[:1], training=True), whole[:1], atol=1e-2)


def test_moving_statistics_average_over_steps_instead_of_keeping_the_last_batch():
    block = ResidualBlock(4)
    generator = np.random.default_rng(0)
    block(generator.normal(size=(4, 4, 4, 3)).astype("float32"))
    momentum = block.norm.momentum
    before = block.norm.moving_mean.numpy()
    captured = []
    block.second.call = lambda maps, call=block.second.call: captured.append(call(maps)) or captured[-1]
    block(generator.normal(size=(4, 4, 4, 3)).astype("float32"), training=True)
    batch_mean = captured[-1].numpy().mean(axis=(0, 1, 2))
    expected = momentum * before + (1 - momentum) * batch_mean
    np.testing.assert_allclose(block.norm.moving_mean.numpy(), expected, atol=1e-6)
    assert momentum > 0.9


def test_every_level_is_read_off_at_its_own_resolution():
    encoder = ResidualEncoder((2, 3, 5), (2, 4, 0), (4, 6, 8))
    z1, z2, z3 = encoder(np.random.default_rng(0).normal(size=(2, 8, 12, 3)).astype("float32"))
    assert z1.shape == (2, 4, 6, 4) and z2.shape == (2, 2, 3, 6) and z3.shape == (2, 10)


@pytest.mark.parametrize(("stride", "target"), [(0, 1), (0, 2), (0, 4), (4, 1), (4, 2), (2, 1)])
def test_the_upsampler_gives_maps_of_the_targets_sides(stride, target):
    layer = ResidualUpsampler((8, 12), stride, target, (4, 6, 8))
    shape = (2, 8 // stride, 12 // stride, 3) if stride else (2, 3)
    maps = layer(np.random.default_rng(0).normal(size=shape).astype("float32"))
    assert maps.shape == (2, 8 // target, 12 // target, {1: 4, 2: 6, 4: 8}[target])
    assert maps.shape == layer.compute_output_shape(shape)


def test_latents_are_clipped_on_entering_a_decoder():
    layer = ResidualUpsampler((4, 4), 0, 1, (4, 4))
    z = np.float32([[1e6, -1e6, 3.0]])
    np.testing.assert_array_equal(layer(z), layer(np.clip(z, -LATENT_LIMIT, LATENT_LIMIT)))
    assert not np.array_equal(layer(z), layer(z / 1e6))


def test_an_unknown_way_to_resample_is_refused():
    with pytest.raises(ValueError, match="resample='sideways'"):
        ResidualBlock(4, "sideways")


def test_batch_normalization_is_synchronised_and_can_be_left_out():
    assert isinstance(_built(True).norm, keras.layers.BatchNormalization) and _built(True).norm.synchronized
    assert _built(False).norm is None and _built(False).second.use_bias


def _built(batch_normalization: bool) -> ResidualBlock:
    block = ResidualBlock(2, batch_normalization=batch_normalization)
    block.build((None, 4, 4, 2))
    return block
