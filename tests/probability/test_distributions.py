"""Distributions against SciPy, against Monte Carlo, and at the edges of floating point."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from pixelvae_tf.probability.distributions import (
    Bernoulli,
    Categorical,
    DiagonalGaussian,
    DiscretizedGaussian,
    bounded_prior,
    gaussian_from_parameters,
    parameters_per_color,
    pixel_distribution,
    standard_normal_like,
)

GENERATOR = np.random.default_rng(0)
EXTREME = np.float32([-1e30, -1e4, -100.0, -1.0, 0.0, 1.0, 100.0, 1e4, 1e30])


def gaussian(mean, scale) -> DiagonalGaussian:
    return DiagonalGaussian(tf.constant(mean, tf.float32), tf.constant(scale, tf.float32))


def grid(count: int) -> np.ndarray:
    """The middles of `count` equal parts of [0, 1)."""
    return ((np.arange(count) + 0.5) / count).astype("float32")


# Gaussians.


@pytest.mark.parametrize(
    ("q", "p"),
    [
        ((0.0, 1.0), (0.0, 1.0)),
        ((0.5, 0.7), (0.0, 1.0)),
        ((-1.0, 2.0), (1.5, 0.8)),
        ((2.0, 0.1), (1.9, 0.2)),
    ],
)
def test_the_closed_form_kl_agrees_with_monte_carlo(q, p):
    z = np.random.default_rng(1).normal(*q, 200_000)
    log_ratio = scipy.stats.norm.logpdf(z, *q) - scipy.stats.norm.logpdf(z, *p)
    stderr = log_ratio.std() / np.sqrt(z.size)
    assert abs(gaussian(*q).kl(gaussian(*p)).numpy() - log_ratio.mean()) <= 5 * stderr + 1e-6


def test_the_kl_is_zero_to_itself_and_positive_to_any_other():
    mean, scale = GENERATOR.normal(size=50), np.exp(GENERATOR.normal(size=50))
    q = gaussian(mean, scale)
    np.testing.assert_allclose(q.kl(q), 0.0, atol=1e-6)
    assert np.all(q.kl(gaussian(mean + 0.1, scale)) > 0)
    assert np.all(q.kl(gaussian(mean, scale * 1.1)) > 0)
    assert np.all(q.kl(gaussian(mean, scale / 1.1)) > 0)


def test_the_gaussian_log_prob_is_scipys():
    mean, scale, value = GENERATOR.normal(size=50), np.exp(GENERATOR.normal(size=50)), GENERATOR.normal(size=50)
    expected = scipy.stats.norm.logpdf(value, mean, scale)
    np.testing.assert_allclose(gaussian(mean, scale).log_prob(np.float32(value)), expected, rtol=1e-4, atol=1e-5)


def test_a_gaussian_sample_is_its_noise_moved_and_scaled():
    noise = np.float32(GENERATOR.normal(size=100_000))
    sample = gaussian(3.0, 0.5).sample(noise).numpy()
    np.testing.assert_allclose(sample, 3.0 + 0.5 * noise, rtol=1e-6)
    assert scipy.stats.kstest(sample, "norm", args=(3.0, 0.5)).pvalue > 1e-3


def test_the_topmost_prior_is_the_standard_normal():
    z = np.float32(GENERATOR.normal(size=(4, 3)))
    np.testing.assert_allclose(standard_normal_like(z).log_prob(z), scipy.stats.norm.logpdf(z), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_network_outputs_are_means_beside_log_scales_and_are_used_in_float32(dtype):
    parameters = tf.cast([[1.0, 2.0, 0.0, -1.0], [-3.0, 0.5, 2.0, 1.0]], dtype)
    found = gaussian_from_parameters(parameters)
    np.testing.assert_array_equal(found.mean, np.float32([[1.0, 2.0], [-3.0, 0.5]]))
    np.testing.assert_allclose(found.scale, np.exp(np.float32([[0.0, -1.0], [2.0, 1.0]])), rtol=1e-6)
    assert found.mean.dtype == found.scale.dtype == tf.float32


def test_gaussians_of_extreme_scales_stay_finite():
    log_scales = tf.constant([[0.0, 0.0, -20.0, 20.0]])
    with tf.GradientTape() as tape:
        tape.watch(log_scales)
        q = gaussian_from_parameters(log_scales)
        values = [q.kl(standard_normal_like(q.mean)), q.log_prob(q.sample(tf.ones((1, 2))))]
        total = tf.add_n([tf.reduce_sum(value) for value in values])
    assert np.all(np.isfinite(values))
    assert np.all(np.isfinite(tape.gradient(total, log_scales)))


def test_softsign_scales_are_the_papers_and_stay_positive_with_a_gradient_everywhere():
    raw = np.float32([-1e6, -30.0, -2.0, 0.0, 2.0, 30.0])
    parameters = tf.constant(np.stack([np.zeros_like(raw), raw], axis=-1))
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        scale = gaussian_from_parameters(parameters, "softsign").scale
    exact = (raw.astype("float64") / (1 + np.abs(raw.astype("float64"))) + 1) / 2
    np.testing.assert_allclose(scale[:, 0], exact, rtol=1e-5)
    assert np.all(scale > 0)
    slope = tape.gradient(scale, parameters)[:, 1]
    np.testing.assert_allclose(slope, 0.5 / (1 + np.abs(raw.astype("float64"))) ** 2, rtol=1e-4)


def test_the_bounded_prior_keeps_means_within_two_and_scales_over_the_floor():
    prior = bounded_prior(gaussian([-1e4, -1.0, 0.0, 5.0], [0.1, 0.5, 0.9, 0.01]), 0.25)
    mean = np.float64([-1e4, -1.0, 0.0, 5.0])
    np.testing.assert_allclose(prior.mean, 2 * (mean / 2) / (1 + np.abs(mean / 2)), rtol=1e-5)
    assert np.all(prior.scale >= 0.25) and np.all(np.abs(prior.mean) <= 2)
    np.testing.assert_allclose(bounded_prior(gaussian([0.0], [0.3]), 0.0).scale, 0.3, rtol=1e-6)


# Pixels.


def discretized(mean, scale, levels: int) -> DiscretizedGaussian:
    return DiscretizedGaussian(tf.constant(mean, tf.float32), tf.constant(scale, tf.float32), levels)


@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize("scale", [0.02, 0.3, 3.0, 50.0, 5000.0])
def test_the_masses_of_a_discretised_gaussian_are_scipys_and_sum_to_one(levels, scale):
    for mean in (-0.4 * levels, 0.0, 0.37 * levels, levels - 1.0, 1.3 * levels):
        pixels = np.arange(levels)
        log_mass = discretized(np.full(levels, mean), np.full(levels, scale), levels).log_prob(pixels).numpy()
        assert np.exp(log_mass.astype("float64")).sum() == pytest.approx(1.0, abs=2e-3 if scale > 1000 else 1e-4)
        edges = (np.arange(levels + 1) - 0.5 - mean) / scale
        edges[0], edges[-1] = -np.inf, np.inf
        # From the nearer tail, where SciPy's differences keep their digits.
        mass = np.where(edges[:-1] > 0, -np.diff(scipy.stats.norm.sf(edges)), np.diff(scipy.stats.norm.cdf(edges)))
        seen = mass > 1e-30
        np.testing.assert_allclose(log_mass[seen], np.log(mass[seen]), rtol=1e-3, atol=2e-2 if scale > 1000 else 2e-3)


def test_a_discretised_gaussian_is_finite_with_finite_gradients_far_from_its_mean():
    mean, scale = tf.constant([0.0, 255.0, -1e4, 128.0]), tf.constant([1e-3, 1e-2, 1.0, 1e6])
    with tf.GradientTape() as tape:
        tape.watch([mean, scale])
        log_prob = DiscretizedGaussian(mean, scale, 256).log_prob(tf.constant([255, 0, 255, 3]))
    assert np.all(np.isfinite(log_prob)) and np.all(log_prob <= 0)
    assert all(np.all(np.isfinite(part)) for part in tape.gradient(log_prob, [mean, scale]))


def test_discretised_gaussian_pixels_over_a_grid_of_uniforms_have_the_frequencies_of_their_masses():
    found = discretized(np.full(10_000, 4.2), np.full(10_000, 2.5), 9).sample(grid(10_000)).numpy()
    masses = np.exp(discretized(np.full(9, 4.2), np.full(9, 2.5), 9).log_prob(np.arange(9)).numpy())
    np.testing.assert_allclose(np.bincount(found, minlength=9), 10_000 * masses, atol=1.5)
    assert np.all(np.diff(found) >= 0)
    extremes = discretized([4.2, 4.2], [2.5, 2.5], 9).sample(np.float32([0.0, np.nextafter(np.float32(1), 0)]))
    assert extremes.numpy().tolist() == [0, 8]


def test_the_bernoulli_log_prob_is_scipys_for_every_integer_type():
    logits = np.float32(GENERATOR.normal(scale=3.0, size=100))
    pixels = GENERATOR.integers(0, 2, 100)
    expected = scipy.stats.bernoulli.logpmf(pixels, scipy.special.expit(logits.astype("float64")))
    for dtype in ("uint8", "int32", "int64"):
        np.testing.assert_allclose(Bernoulli(logits).log_prob(pixels.astype(dtype)), expected, rtol=1e-5, atol=1e-6)


def test_the_categorical_log_prob_is_scipys_for_every_integer_type():
    logits = np.float32(GENERATOR.normal(scale=3.0, size=(100, 7)))
    pixels = GENERATOR.integers(0, 7, 100)
    expected = scipy.special.log_softmax(logits.astype("float64"), axis=-1)[np.arange(100), pixels]
    for dtype in ("uint8", "int32", "int64"):
        found = Categorical(tf.constant(logits)).log_prob(pixels.astype(dtype))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_probabilities_of_all_values_sum_to_one():
    logits = tf.constant(np.concatenate([GENERATOR.normal(size=50), EXTREME]), tf.float32)
    total = sum(np.exp(Bernoulli(logits).log_prob(tf.fill(logits.shape, value))) for value in (0, 1))
    np.testing.assert_allclose(total, 1.0, rtol=1e-5)
    logits = tf.constant(np.concatenate([GENERATOR.normal(size=(50, 9)), [EXTREME]]), tf.float32)
    total = sum(np.exp(Categorical(logits).log_prob(tf.fill(logits.shape[:1], value))) for value in range(9))
    np.testing.assert_allclose(total, 1.0, rtol=1e-5)


@pytest.mark.parametrize("value", [0, 1])
def test_bernoulli_pixels_of_extreme_logits_have_finite_log_probs_and_gradients(value):
    logits = tf.constant(EXTREME)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        log_prob = Bernoulli(logits).log_prob(tf.fill(logits.shape, value))
    assert np.all(np.isfinite(log_prob)) and np.all(log_prob <= 0)
    gradient = tape.gradient(log_prob, logits)
    np.testing.assert_allclose(gradient, value - scipy.special.expit(EXTREME.astype("float64")), atol=1e-6)


@pytest.mark.parametrize("value", range(3))
def test_categorical_pixels_of_extreme_logits_have_finite_log_probs_and_gradients(value):
    logits = tf.constant([[a, b, 0.0] for a in EXTREME for b in EXTREME])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        log_prob = Categorical(logits).log_prob(tf.fill(logits.shape[:1], value))
    assert np.all(np.isfinite(log_prob)) and np.all(log_prob <= 0)
    expected = np.eye(3)[value] - scipy.special.softmax(logits.numpy().astype("float64"), axis=-1)
    np.testing.assert_allclose(tape.gradient(log_prob, logits), expected, atol=1e-6)


@pytest.mark.parametrize("probability", [0.0, 0.001, 0.25, 0.5, 0.813, 1.0])
def test_bernoulli_pixels_over_a_grid_of_uniforms_have_the_exact_frequency(probability):
    with np.errstate(divide="ignore"):
        logit = np.clip(scipy.special.logit(probability), -1e4, 1e4).astype("float32")
    pixels = Bernoulli(tf.fill([1000], logit)).sample(grid(1000)).numpy()
    assert set(np.unique(pixels)) <= {0, 1}
    assert pixels.sum() == round(1000 * probability)


@pytest.mark.parametrize(
    "probabilities",
    [[0.2, 0.3, 0.5], [0.5, 0.3, 0.2], [0.0, 0.999, 0.001], [0.001, 0.0, 0.999], [0.25, 0.75, 0.0], [0.1] * 10],
)
def test_categorical_pixels_over_a_grid_of_uniforms_have_the_exact_frequencies(probabilities):
    logits = np.log(np.maximum(probabilities, 1e-40)).astype("float32")
    pixels = Categorical(tf.tile(logits[None], [1000, 1])).sample(grid(1000)).numpy()
    counts = np.bincount(pixels, minlength=len(probabilities))
    np.testing.assert_array_equal(counts, np.round(1000 * np.array(probabilities)))
    assert np.all(np.diff(pixels) >= 0), "the inverse of a cumulative distribution does not fall"


def test_the_largest_uniform_still_gives_a_level():
    largest = np.nextafter(np.float32(1), np.float32(0))
    logits = tf.constant(GENERATOR.normal(size=(500, 256)), tf.float32)
    pixels = Categorical(logits).sample(tf.fill([500], largest)).numpy()
    assert pixels.max() <= 255 and pixels.min() >= 0
    assert Bernoulli(tf.constant([50.0])).sample(tf.constant([largest])).numpy() == 1


@pytest.mark.parametrize("levels", [3, 256])
def test_the_levels_of_one_color_lie_side_by_side(levels):
    logits = GENERATOR.normal(size=(2, 4, 5, 3 * levels)).astype("float32")
    pixels = GENERATOR.integers(0, levels, (2, 4, 5, 3))
    assert logits.shape[-1] == 3 * parameters_per_color(levels)
    log_prob = pixel_distribution(tf.constant(logits), levels).log_prob(pixels).numpy()
    for index in np.ndindex(2, 4, 5, 3):
        *place, color = index
        of_color = logits[(*place, slice(color * levels, (color + 1) * levels))].astype("float64")
        expected = scipy.special.log_softmax(of_color)[pixels[index]]
        np.testing.assert_allclose(log_prob[index], expected, rtol=1e-4, atol=1e-4)


def test_two_levels_take_one_logit_a_color():
    assert parameters_per_color(2) == 1
    logits = tf.constant(GENERATOR.normal(size=(2, 4, 5, 3)), tf.bfloat16)
    found = pixel_distribution(logits, 2)
    assert isinstance(found, Bernoulli) and found.logits.dtype == tf.float32
    np.testing.assert_array_equal(found.logits, tf.cast(logits, tf.float32))
