"""Mixtures of discretized logistics against exact decimal arithmetic, over all levels, and at the edges of float32."""

import decimal

import numpy as np
import pytest
import tensorflow as tf

from pixelvae_tf.probability.distributions import (
    Bernoulli,
    Categorical,
    DiscretizedGaussian,
    parameters_per_color,
    pixel_distribution,
)
from pixelvae_tf.probability.logistic_mixture import LogisticMixture

LEVELS = [2, 3, 17, 256]


def mixture(components: int, levels: int, count: int = 20, seed: int = 0) -> LogisticMixture:
    """Mixtures of every kind: narrow and wide components, among the levels and far outside, some of no weight.

    In every second mixture the components lie together, so that nothing else gives the levels far from them a mass.
    """
    generator = np.random.default_rng(seed)
    shape = (count, components)

    def spread(low: float, high: float) -> np.ndarray:
        together = generator.uniform(low, high, (count, 1)) + 0.01 * generator.normal(size=shape)
        return np.where(np.arange(count)[:, None] % 2, together, generator.uniform(low, high, shape))

    mean, scale = levels * spread(-0.5, 1.5), levels * np.exp(spread(-9.0, 5.0))
    mean += (generator.random(shape) < 0.05) * generator.normal(0, 1e4, shape)
    logits = generator.normal(scale=3.0, size=shape) - 60.0 * (generator.random(shape) < 0.1)
    return LogisticMixture(*(tf.constant(part, tf.float32) for part in (logits, mean, scale)), levels)


def exact_log_probs(p_x: LogisticMixture) -> np.ndarray:
    """`log_probs` in decimal arithmetic of 60 digits."""
    with decimal.localcontext(prec=60, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX):
        rows = zip(*(part.numpy().astype("float64").tolist() for part in p_x[:3]), strict=True)
        return np.array([[float(p.ln()) for p in _exact_probabilities(*row, p_x.pixel_levels)] for row in rows])


def _exact_probabilities(logits, means, scales, levels: int) -> list[decimal.Decimal]:
    weights = [decimal.Decimal(logit).exp() for logit in logits]
    total, edges = sum(weights), [decimal.Decimal(level) - decimal.Decimal("0.5") for level in range(1, levels)]
    probabilities = [decimal.Decimal(0)] * levels
    for weight, mean, scale in zip(weights, means, scales, strict=True):
        standard = [(edge - decimal.Decimal(mean)) / decimal.Decimal(scale) for edge in edges]
        # Each side of an edge by its own tail, where differences keep their digits.
        below = [0, *(1 / (1 + (-value).exp()) for value in standard), 1]
        above = [1, *(1 / (1 + value.exp()) for value in standard), 0]
        for level in range(levels):
            from_below, from_above = below[level + 1] - below[level], above[level] - above[level + 1]
            probabilities[level] += weight / total * (from_below if below[level] < above[level] else from_above)
    return probabilities


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("components", [1, 10])
def test_log_probs_are_exact_to_float32_from_certainty_to_the_far_tails(levels, components):
    p_x = mixture(components, levels, count=6 if levels == 256 else 40, seed=1)
    exact = exact_log_probs(p_x)
    np.testing.assert_allclose(p_x.log_probs(), exact, rtol=2e-5, atol=2e-6)
    assert exact.min() < -100.0 and exact.max() > -1e-3


@pytest.mark.parametrize("levels", LEVELS)
def test_the_probabilities_of_all_levels_sum_to_one_whatever_the_parameters(levels):
    for components in (1, 3, 10):
        log_probs = mixture(components, levels, count=500, seed=components).log_probs().numpy().astype("float64")
        assert log_probs.shape == (500, levels) and np.all(log_probs <= 1e-6)
        np.testing.assert_allclose(np.exp(log_probs).sum(axis=-1), 1.0, atol=2e-5)


def test_log_probs_of_all_levels_are_those_of_each():
    generator = np.random.default_rng(0)
    numbers = [tf.constant(generator.normal(size=(4, 5)), tf.float32) for _ in range(3)]
    for p_x, levels in (
        (Bernoulli(numbers[0]), 2),
        (Categorical(tf.constant(generator.normal(size=(4, 5, 7)), tf.float32)), 7),
        (DiscretizedGaussian(3.0 + numbers[0], tf.exp(numbers[1]), 7), 7),
        (LogisticMixture(*(tf.stack([part, part[::-1]], axis=-1) for part in numbers[:2]), tf.ones((4, 5, 2)), 7), 7),
    ):
        found = p_x.log_probs().numpy()
        assert found.shape == (4, 5, levels)
        for level in range(levels):
            np.testing.assert_allclose(found[..., level], p_x.log_prob(tf.fill((4, 5), level)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pixel", [0, 1, 128, 255])
@pytest.mark.parametrize("size", [0.0, 1.0, 100.0, 1e4, 1e25])
def test_outputs_of_any_size_give_finite_log_probs_and_gradients(pixel, size):
    signs = np.array(np.meshgrid(*[[-1.0, 0.0, 1.0]] * 6)).reshape(6, -1).T
    parameters = tf.constant(size * signs[:, None, None], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        p_x = pixel_distribution(parameters, 256, "logistics", 2)
        log_prob = p_x.log_prob(tf.fill((len(signs), 1, 1, 1), pixel))
    assert np.all(np.isfinite(log_prob)) and np.all(log_prob <= 1e-6)
    assert np.all(np.isfinite(tape.gradient(log_prob, parameters)))


@pytest.mark.parametrize("levels", LEVELS)
def test_pixels_over_a_grid_of_uniforms_invert_the_cumulative_distribution(levels):
    p_x = mixture(3, levels, count=10, seed=4)
    uniforms = ((np.arange(1000) + 0.5) / 1000).astype("float32")
    of_uniforms = LogisticMixture(*(part[:, None] for part in p_x[:3]), levels)
    found = of_uniforms.sample(np.tile(uniforms, (10, 1))).numpy()
    for pixels, log_probs in zip(found, exact_log_probs(p_x), strict=True):
        cumulative = np.cumsum(np.exp(log_probs))
        expected = np.searchsorted(cumulative[:-1], uniforms.astype("float64"), side="right")
        # The sum of the oracle is rounded too.
        near = np.abs(cumulative[:, None] - uniforms).min(axis=0) < 1e-6
        np.testing.assert_array_equal(pixels[~near], expected[~near])
    assert found.min() == 0 and found.max() == levels - 1
    extremes = p_x.sample(np.zeros(10, "float32")), p_x.sample(np.full(10, np.nextafter(np.float32(1), 0)))
    for pixels in extremes:
        assert np.all(pixels >= 0) and np.all(pixels < levels)


def test_zero_outputs_are_nearly_uniform_over_the_levels():
    for levels in (3, 17, 256):
        for components in (4, 10):
            p_x = pixel_distribution(tf.zeros((1, 1, 1, 3 * components)), levels, "logistics", components)
            probabilities = np.exp(p_x.log_probs().numpy().ravel())
            # The end levels have the tails.
            assert probabilities.min() > 0.4 / levels
            assert np.log(levels) + (probabilities * np.log(probabilities)).sum() < 0.15


def test_temperatures_narrow_the_components_and_favor_the_heaviest():
    p_x = mixture(3, 17)._replace(scale=tf.ones((20, 3)))
    same, cold = p_x.with_temperature(1.0), p_x.with_temperature(1e-3)
    np.testing.assert_array_equal(same.log_probs(), p_x.log_probs())
    heaviest = np.take_along_axis(p_x.mean.numpy(), np.argmax(p_x.logits, axis=-1)[:, None], axis=-1)[:, 0]
    clear = np.diff(np.sort(p_x.logits, axis=-1)[:, -2:], axis=-1)[:, 0] > 0.1
    clear &= np.abs(heaviest % 1 - 0.5) > 0.05
    expected = np.clip(np.round(heaviest), 0, 16)
    for uniform in (0.01, 0.99):
        np.testing.assert_array_equal(cold.sample(np.full(20, uniform, "float32"))[clear], expected[clear])


def test_the_numbers_of_one_color_lie_side_by_side_and_are_used_in_float32():
    units = 3 * parameters_per_color(17, "logistics", 2)
    parameters = tf.constant(np.random.default_rng(0).normal(size=(2, 4, 5, units)), tf.bfloat16)
    p_x = pixel_distribution(parameters, 17, "logistics", 2)
    assert p_x.logits.dtype == p_x.mean.dtype == p_x.scale.dtype == tf.float32
    for color in range(3):
        alone = pixel_distribution(parameters[..., 6 * color : 6 * color + 6], 17, "logistics", 2)
        for part, part_alone in zip(p_x[:3], alone[:3], strict=True):
            np.testing.assert_array_equal(part[..., color, :], part_alone[..., 0, :])
