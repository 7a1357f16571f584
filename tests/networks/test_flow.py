"""The flow of the learned prior: a change of variables that is right, invertible, and at first no change."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from pixelvae_tf.networks import flow
from pixelvae_tf.networks.flow import RealNVP, kept_features
from pixelvae_tf.probability.distributions import TransformedNormal


def fresh(dimensions: int, **settings) -> RealNVP:
    layer = RealNVP(**{"num_couplings": 6, "num_layers": 1, "channels": 16, **settings})
    layer.build((None, dimensions))
    return layer


def changed(dimensions: int, by: float = 0.2, **settings) -> RealNVP:
    """A flow far from the identity, in float64 where rounding would hide what is wrong."""
    layer = fresh(dimensions, **settings)
    layer.set_weights([value + np.random.normal(scale=by, size=value.shape) for value in layer.get_weights()])
    return layer


def vectors(dimensions: int, count: int = 20) -> np.ndarray:
    return np.random.normal(size=(count, dimensions)).astype("float32")


@pytest.mark.parametrize("dimensions", [2, 3, 16])
def test_a_fresh_flow_is_the_identity(dimensions):
    layer, z = fresh(dimensions), vectors(dimensions)
    noise, log_determinant = layer(z)
    np.testing.assert_array_equal(noise, z)
    np.testing.assert_array_equal(log_determinant, np.zeros(len(z)))
    np.testing.assert_array_equal(layer.inverse(z), z)
    expected = scipy.stats.norm.logpdf(z).sum(axis=1)
    np.testing.assert_allclose(TransformedNormal(layer).log_prob(z), expected, rtol=1e-5)


@pytest.mark.parametrize("dimensions", [2, 5, 16])
def test_the_inverse_undoes_the_flow_in_both_directions(dimensions):
    layer, z = changed(dimensions, dtype="float64"), vectors(dimensions).astype("float64")
    noise, _ = layer(z)
    assert np.abs(noise - z).mean() > 0.3
    np.testing.assert_allclose(layer.inverse(noise), z, atol=1e-8)
    np.testing.assert_allclose(layer(layer.inverse(z))[0], z, atol=1e-8)


@pytest.mark.parametrize("dimensions", [2, pytest.param(5, marks=pytest.mark.exhaustive)])
def test_the_log_determinant_is_that_of_the_jacobian_by_automatic_differentiation(dimensions):
    layer, z = changed(dimensions, dtype="float64"), tf.constant(vectors(dimensions), "float64")
    with tf.GradientTape() as tape:
        tape.watch(z)
        noise, found = layer(z)
    jacobian = tape.batch_jacobian(noise, z).numpy()
    sign, expected = np.linalg.slogdet(jacobian)
    assert np.all(sign == 1)
    np.testing.assert_allclose(found, expected, atol=1e-8)
    assert np.ptp(expected) > 0.1
    # With a pair of couplings for each bit of the index, no feature is left to itself.
    assert np.all(np.abs(jacobian).max(axis=0) > 1e-3)


def test_in_two_dimensions_the_density_integrates_to_one_and_is_that_of_the_samples():
    layer = changed(2, 0.06, num_couplings=4)
    axis, step = np.linspace(-20.0, 20.0, 801, retstep=True)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2).astype("float32")
    mass = np.exp(np.float64(TransformedNormal(layer).log_prob(grid))) * step**2
    assert mass.sum() == pytest.approx(1.0, abs=1e-3)
    samples = np.asarray(TransformedNormal(layer).sample(vectors(2, 40_000)))
    # In sixteen parts of the plane, as far apart as the samples.
    edges = [np.quantile(samples[:, axis], [0.25, 0.5, 0.75]) for axis in (0, 1)]

    def part(points):
        return 4 * np.searchsorted(edges[0], points[:, 0]) + np.searchsorted(edges[1], points[:, 1])

    found = np.bincount(part(samples), minlength=16) / len(samples)
    expected = np.bincount(part(grid), mass, minlength=16)
    np.testing.assert_allclose(found, expected, atol=0.015)
    assert np.abs(expected - 1 / 16).max() > 0.02


@pytest.mark.parametrize("dimensions", [2, 3, 5, 16])
def test_a_pair_of_couplings_for_each_bit_lets_every_feature_depend_on_every_other(dimensions):
    couplings = 2 * (dimensions - 1).bit_length()
    kept = np.stack([kept_features(dimensions, coupling) for coupling in range(couplings)])
    assert np.all(kept.any(axis=1) & ~kept.all(axis=1))
    reached = np.einsum("ci,cj->ij", kept, ~kept) > 0
    assert np.array_equal(reached, ~np.eye(dimensions, dtype=bool))
    # Further couplings begin anew.
    assert np.array_equal(kept_features(dimensions, couplings), kept[0])


def test_a_coupling_changes_no_volume_beyond_its_limit():
    layer = fresh(4, num_couplings=1)
    layer.set_weights([1e3 * np.random.normal(size=value.shape) for value in layer.get_weights()])
    _, log_determinant = layer(vectors(4))
    np.testing.assert_allclose(np.abs(log_determinant).max(), 2 * flow.LOG_SCALE_LIMIT, rtol=1e-3)


def test_a_flow_learns_a_density_that_a_normal_cannot_have():
    """Two clusters on a diagonal, a nat under the best normal's cost."""
    generator = np.random.default_rng(0)
    centers = generator.choice([-1.5, 1.5], size=(2_000, 1))
    data = (centers + 0.3 * generator.normal(size=(2_000, 2))).astype("float32")
    layer = fresh(2, num_couplings=4, channels=32)
    optimizer = keras.optimizers.Adam(5e-3)

    @tf.function(autograph=False)
    def step(z):
        with tf.GradientTape() as tape:
            cost = -tf.reduce_mean(TransformedNormal(layer).log_prob(z))
        optimizer.apply(tape.gradient(cost, layer.trainable_variables), layer.trainable_variables)
        return cost

    optimizer.build(layer.trainable_variables)
    costs = [float(step(data)) for _ in range(200)]
    best_normal = -scipy.stats.multivariate_normal(data.mean(axis=0), np.cov(data.T)).logpdf(data).mean()
    assert costs[0] > best_normal
    assert costs[-1] < best_normal - 0.3
