"""The masked network of the paper's code: its order of generation, its blind spot, and how z's maps enter it."""

import numpy as np
import pytest
import tensorflow as tf
from causality import by_color, dependence, earlier

from pixelvae_tf.layers.masked_block import MaskedBlock
from pixelvae_tf.networks.masked_residual import MaskedResidualNetwork
from pixelvae_tf.networks.pixelcnn import PixelCNN

# 64px of the paper's code: a 5x5 layer and three blocks of two 3x3 layers reach 8 rows up and 8 columns to each side.
REACH = 8
LAYERS = 4


@pytest.mark.parametrize("colors", [1, 3])
def test_no_output_sees_the_future_or_its_own_color(colors):
    images = np.random.default_rng(0).normal(size=(4, 4, 5, colors))
    network = MaskedResidualNetwork(colors * 2, 12, 3, 3, 3, output_layers=1, colors=colors)
    seen = by_color(dependence(network, images), colors) > 0
    assert not np.any(seen & ~earlier(4, 5, colors))
    # Colors of one pixel depend on one another in order, and a pixel on its neighbours.
    assert seen[2, 2, colors - 1, 2, 2, : colors - 1].all()
    assert seen[2, 2, :, 2, 1].all() and seen[2, 2, :, 1, 2].all()


def seen_from_the_last_row(network) -> np.ndarray:
    """Which pixels of the rectangle above and to the left of one pixel its output depends on."""
    side = 2 * REACH + 1
    images = tf.constant(np.random.default_rng(0).normal(size=(8, REACH + 1, side, 1)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(images)
        output = network(images)[:, REACH, REACH]
    return np.abs(tape.gradient(output, images).numpy()).sum(axis=(0, 3)) > 0


def test_the_papers_configuration_is_blind_to_21_of_the_144_pixels_in_its_rectangle():
    seen = seen_from_the_last_row(MaskedResidualNetwork(1, 16, LAYERS, 5, 3))
    past = np.zeros_like(seen)
    past[:REACH] = True
    past[REACH, :REACH] = True
    assert past.sum() == 144
    assert not np.any(seen & ~past)
    assert (past & ~seen).sum() == 21
    blind_rows, blind_columns = np.nonzero(past & ~seen)
    assert blind_rows.max() < REACH and blind_columns.min() > REACH  # to the upper right


def test_stacks_of_as_many_layers_see_all_of_theirs():
    seen = seen_from_the_last_row(PixelCNN(1, 16, LAYERS, 5, 3, output_layers=0))
    reach = 2 + (LAYERS - 1)
    rows = slice(REACH - reach, REACH)
    assert seen[rows, REACH - reach : REACH + reach + 1].all()
    assert seen[REACH, REACH - reach : REACH].all()
    assert seen.sum() == reach * (2 * reach + 1) + reach


@pytest.mark.parametrize("kind", [MaskedResidualNetwork, PixelCNN])
def test_maps_of_z_reach_their_own_position_for_every_color(kind):
    generator = np.random.default_rng(0)
    features = tf.constant(generator.normal(size=(1, 3, 4, 3)), tf.float32)
    network = kind(6, 12, 2, 3, 3, output_layers=0, colors=3, conditional_on_maps=True)
    strength = dependence(
        lambda maps: network(tf.repeat(features, len(maps), axis=0), maps=maps), generator.normal(size=(4, 3, 4, 2))
    )
    for row, column in np.ndindex(3, 4):
        # Both logits of all three colors depend on both maps there.
        assert np.all(strength[row, column, :, row, column] > 0)


def test_the_block_of_the_stacks_is_the_same_layer_for_images_and_for_latents():
    # Nothing in a network over latents differs from one over grey images but the number of maps that enter.
    network = PixelCNN(8, 6, 3, 3, 3, output_layers=1)
    assert all(isinstance(block, MaskedBlock) and block.colors == 1 for block in network.blocks)
    strength = dependence(network, np.random.default_rng(0).normal(size=(4, 3, 3, 5)))
    positions = strength.sum(axis=(2, 5)) > 0
    np.testing.assert_array_equal(positions, earlier(3, 3, 1)[:, :, 0, :, :, 0])
