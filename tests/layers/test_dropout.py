"""Dropout in the masked blocks: what it drops, and that nothing but training drops anything."""

import dataclasses

import keras
import models
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tiny
from fitting import fit, flat, weights_of

from pixelvae_tf.config import ConfigError, RunConfig, TrainConfig
from pixelvae_tf.layers.dropout import replica_factors
from pixelvae_tf.layers.masked_block import MaskedBlock
from pixelvae_tf.networks.masked_residual import MaskedResidualBlock
from pixelvae_tf.networks.pixelcnn import PixelCNN
from pixelvae_tf.probability import randomness
from pixelvae_tf.training.run import build_model

pytestmark = pytest.mark.eagerly

SEED = tf.constant([3, 4])


def normal(*shape) -> np.ndarray:
    return np.random.normal(size=shape).astype("float32")


def test_bytes_are_uniform_and_independent_in_any_shape():
    drawn = randomness.integers((3, 7, 1_001), SEED).numpy()
    assert drawn.shape == (3, 7, 1_001)
    flat = drawn.ravel()
    assert scipy.stats.chisquare(np.bincount(flat, minlength=256)).pvalue > 1e-3
    for lag in (1, 2, 3, 4, 16, 1_001, 7 * 1_001):
        assert abs(np.corrcoef(flat[lag:], flat[:-lag])[0, 1]) < 5 / np.sqrt(len(flat) - lag)


@pytest.mark.parametrize(("rate", "share"), [(0.5, 0.5), (0.1, 26 / 256), (1e-6, 1 / 256), (0.9999, 255 / 256)])
def test_factors_drop_the_stated_share_and_keep_the_mean(rate, share):
    factors = np.stack(replica_factors((2, 20, 30, 5), rate, 20, SEED, "float32"))
    assert factors.shape == (2, 20, 20, 30, 5)
    assert set(np.unique(factors)) == {np.float32(0), np.float32(1 / (1 - share))}
    dropped = (factors == 0).sum()
    assert scipy.stats.binomtest(int(dropped), factors.size, share).pvalue > 1e-3
    assert not np.array_equal(factors[0], factors[1])
    assert replica_factors((0, 20, 30, 5), rate, 20, SEED, "float32") == []
    assert replica_factors((1, 2, 2, 1), rate, 2, SEED, "bfloat16")[0].dtype == tf.bfloat16


def test_a_block_drops_inside_its_residual_connection():
    stacks, residual = MaskedBlock(6, 3, "B"), MaskedResidualBlock(6)
    maps, ones = normal(4, 5, 6, 6), np.ones((4, 5, 6, 6), "float32")
    biases = [normal(4, 1, 1, 12)] * 2
    vertical, horizontal = stacks(maps, maps, *biases)
    for factors, expected in ((ones, horizontal), (0 * ones, maps + stacks.output_conv.bias)):
        found = stacks(maps, maps, *biases, factors)
        np.testing.assert_array_equal(found[0], vertical)
        np.testing.assert_allclose(found[1], expected, rtol=1e-6)
    for factors, expected in ((ones, residual(maps)), (0 * ones, maps + residual.output_conv.bias)):
        np.testing.assert_allclose(residual(maps, factors), expected, rtol=1e-6)


def test_every_residual_block_has_factors_of_its_own():
    network = PixelCNN(1, 6, 4, first_kernel_size=3, kernel_size=3)
    features = normal(2, 4, 5, 1)
    whole = network(features)
    blocks, filters = network.residual_blocks
    assert (blocks, filters) == (3, 6)
    ones = [np.ones((2, 4, 5, filters), "float32")] * blocks
    np.testing.assert_allclose(network(features, dropout=ones), whole, rtol=1e-5)
    for index in range(blocks):
        one_less = [0 * factors if other == index else factors for other, factors in enumerate(ones)]
        assert not np.allclose(network(features, dropout=one_less), whole, rtol=1e-2)


@pytest.mark.parametrize("masked_blocks", ["stacks", "residual"])
def test_a_training_step_drops_in_every_decoder_and_a_measurement_nowhere(masked_blocks):
    images = models.some_images(models.THREE_LEVELS, 24)
    logs, measured = {}, {}
    for rate in (0.0, 0.5):
        model = models.model(masked_blocks=masked_blocks)
        model.compile(keras.optimizers.SGD(0.0), dropout=rate)
        logs[rate] = model.train_step(images)
        measured[rate] = {name: float(value) for name, value in model.test_step(images).items()}
    # The topmost level's prior has no network.
    for part in ("reconstruction", "kl_z1", "kl_z2"):
        assert float(logs[0.5][part]) != pytest.approx(float(logs[0.0][part]), rel=1e-4)
    assert float(logs[0.5]["kl_z3"]) == pytest.approx(float(logs[0.0]["kl_z3"]), rel=1e-5)
    assert measured[0.0] == pytest.approx(measured[0.5], rel=1e-3)


def test_every_step_drops_anew_and_a_seed_repeats_all_of_them():
    found = []
    for seed in (1, 1, 2):
        model = tiny.model(latent_channels=(), gain=1.5)
        model.compile(keras.optimizers.SGD(0.01), dropout=0.3, seed=seed)
        record = fit(model, tiny.all_images(tiny.BINARY)[::3], 3)
        # Without latents nothing else is random.
        found.append(flat(weights_of(model)))
        assert len({log["bound"] for log in record.logs}) == 3
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_recomputed_blocks_drop_what_they_dropped():
    config = dataclasses.replace(tiny.BINARY, latent_channels=(), pixelcnn_layers=3)
    images = tiny.all_images(config)
    steps = []
    for recompute in (False, True):
        training = TrainConfig(recompute_blocks=recompute, dropout=0.4, mixed_precision="float32")
        model = build_model(RunConfig(config, training=training))
        model.compile(keras.optimizers.SGD(1.0), dropout=0.4)
        before = flat(weights_of(model))
        fit(model, images, 1)
        steps.append(flat(weights_of(model)) - before)
    assert np.abs(steps[0]).max() > 0.1
    np.testing.assert_allclose(steps[1], steps[0], rtol=1e-3, atol=1e-5)


def test_a_model_without_residual_blocks_has_nothing_to_drop():
    model = tiny.model(**tiny.NETWORKS["independent pixels"])
    model.compile(keras.optimizers.SGD(0.0), dropout=0.5)
    assert model.replica_dropout(3, 0) == [{}]
    fit(model, tiny.all_images(tiny.BINARY)[::3], 1)


def test_a_rate_that_drops_all_is_refused():
    with pytest.raises(ConfigError, match="dropout"):
        tiny.model().compile(dropout=1.0)
