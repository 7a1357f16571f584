"""The bound, its parts and its units, against hand calculation and against float64."""

import math

import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from pixelvae_tf.probability import objectives

GENERATOR = np.random.default_rng(0)


def log_mean_exp(log_weights) -> np.ndarray:
    """What `log_likelihood` does with its weights, (samples, batch)."""
    total = tf.fill(log_weights.shape[1:], -float("inf"))
    for log_weight in np.float32(log_weights):
        total = objectives.accumulate_log_weight(total, log_weight)
    return total.numpy() - math.log(len(log_weights))


@pytest.mark.parametrize("level", [-1e4, -100.0, 0.0, 100.0, 1e4])
@pytest.mark.parametrize("spread", [0.0, 1.0, 100.0, 1e4])
def test_accumulated_importance_weights_give_the_log_of_their_mean_without_overflow(level, spread):
    log_weights = np.float32(level + spread * GENERATOR.normal(size=(50, 20)))
    expected = scipy.special.logsumexp(log_weights.astype("float64"), axis=0) - math.log(50)
    np.testing.assert_allclose(log_mean_exp(log_weights), expected, rtol=1e-6, atol=1e-4)


def test_one_weight_at_each_end_of_a_huge_range_counts_as_it_should():
    log_weights = np.array([[-1e4, 1e4], [1e4, -1e4], [0.0, 0.0]])
    np.testing.assert_allclose(log_mean_exp(log_weights), 1e4 - math.log(3), rtol=1e-7)


def test_an_impossible_sample_counts_as_zero():
    assert log_mean_exp(np.array([[-np.inf], [-5.0]])) == pytest.approx(-5.0 - math.log(2))
    assert log_mean_exp(np.array([[-np.inf], [-np.inf]])) == -np.inf


def test_the_mean_of_one_weight_is_that_weight():
    log_weights = np.float32(GENERATOR.normal(scale=100.0, size=(1, 20)))
    np.testing.assert_array_equal(log_mean_exp(log_weights), log_weights[0])


def test_ln_2_nats_over_one_dimension_are_one_bit():
    assert objectives.bits_per_dim(math.log(2), 1) == pytest.approx(1.0)
    # 256 equally likely values of 12 dimensions cost 8 bits each.
    assert objectives.bits_per_dim(12 * math.log(256), 12) == pytest.approx(8.0)
    np.testing.assert_allclose(objectives.bits_per_dim(np.array([78.4, 0.0]), 784), [0.1 / math.log(2), 0.0])


@pytest.mark.parametrize(
    ("step", "warmup_steps", "expected"),
    [
        (0, 100, 0.0),
        (1, 100, 0.01),
        (50, 100, 0.5),
        (100, 100, 1.0),
        (101, 100, 1.0),
        (10**6, 100, 1.0),
        (0, 0, 1.0),
        (5, 0, 1.0),
        (0, 1, 0.0),
        (1, 1, 1.0),
    ],
)
def test_the_kl_weight_rises_linearly_to_one_and_stays(step, warmup_steps, expected):
    weight = objectives.kl_weight(tf.constant(step, tf.int64), warmup_steps)
    assert float(weight) == pytest.approx(expected)
    assert weight.dtype == tf.float32


@pytest.mark.parametrize("levels", [0, 1, 3])
def test_the_elbo_is_minus_the_distortion_and_all_rates(levels):
    reconstruction = tf.constant(GENERATOR.normal(size=8), tf.float32)
    kl = [tf.constant(GENERATOR.normal(size=8), tf.float32) for _ in range(levels)]
    terms = objectives.elbo_terms(reconstruction, kl)
    expected = -(reconstruction.numpy() + sum(part.numpy() for part in kl))
    np.testing.assert_allclose(terms.elbo, expected, rtol=1e-6)
    assert isinstance(terms.kl, tuple) and len(terms.kl) == levels


def test_the_training_loss_weighs_the_rates_and_is_minus_the_bound_at_full_weight():
    terms = objectives.elbo_terms(tf.constant([5.0, 7.0]), [tf.constant([1.0, 2.0]), tf.constant([0.5, 0.25])])
    np.testing.assert_allclose(objectives.training_loss(terms, (0.0, 0.0)), [5.0, 7.0])
    np.testing.assert_allclose(objectives.training_loss(terms, (0.5, 0.5)), [5.75, 8.125])
    np.testing.assert_allclose(objectives.training_loss(terms, (1.0, 1.0)), -terms.elbo)


def test_free_bits_replace_the_rates_of_levels_whose_average_is_lower():
    kl = (np.float32([1.0, 3.0]), np.float32([0.0, 0.5]))
    counted = objectives.with_free_bits(kl, tuple(rate.mean() for rate in kl), free_nats=1.0)
    np.testing.assert_array_equal(counted[0], kl[0])
    np.testing.assert_array_equal(counted[1], [1.0, 1.0])


def test_free_bits_do_not_hide_a_rate_that_is_no_number():
    (counted,) = objectives.with_free_bits((np.float32([0.5, np.nan]),), (np.float32(np.nan),), free_nats=1.0)
    np.testing.assert_array_equal(counted, [0.5, np.nan])


def test_the_final_weight_of_the_kl_scales_its_warm_up():
    weights = objectives.kl_weights(tf.constant(5), (10, 20), 3, final=0.5)
    np.testing.assert_allclose(weights, [0.25, 0.0625, 0.0625])


def test_the_sum_over_dimensions_leaves_the_examples_apart():
    values = GENERATOR.normal(size=(3, 4, 5, 2)).astype("float32")
    np.testing.assert_allclose(objectives.sum_over_dimensions(values), values.sum(axis=(1, 2, 3)), rtol=1e-4)
    np.testing.assert_array_equal(objectives.sum_over_dimensions(values[:, :1, 0, 0]), values[:, 0, 0, 0])
