"""The naive sampler, the oracle of the others, against exhaustively computed distributions and plain NumPy."""

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tiny
from agreement import assert_frequencies

from pixelvae_tf.probability.distributions import Bernoulli
from pixelvae_tf.sampling.naive import sample_pixels_naive

SAMPLES = 20_000


@pytest.mark.parametrize(
    ("network", "config"),
    [
        ("bias, gated", tiny.SMALL_COLOR),
        ("maps, relu", tiny.BINARY),
        pytest.param("bias, gated", tiny.BINARY, marks=pytest.mark.exhaustive),
        pytest.param("maps, relu", tiny.SMALL_COLOR, marks=pytest.mark.exhaustive),
    ],
)
def test_samples_have_the_frequencies_of_the_marginal_over_all_images(network, config):
    model = tiny.shared_model(config, **tiny.NETWORKS[network])
    log_p = tiny.exact_log_likelihood(model, tiny.all_images(config))
    assert_frequencies(model.sample(SAMPLES, seed=1).astype("int64"), config, log_p)


def test_samples_without_latents_have_the_frequencies_of_all_images():
    model = tiny.shared_model(latent_channels=(), gain=1.5)
    images = tiny.all_images(model.config)
    assert_frequencies(model.sample(SAMPLES, seed=1).astype("int64"), model.config, model.log_likelihood(images))


def probabilities(p_x) -> np.ndarray:
    """Of every value of every pixel, (batch, height, width, colors, levels), from a distribution's logits."""
    logits = np.asarray(p_x.logits, "float64")
    if isinstance(p_x, Bernoulli):
        return np.stack([scipy.special.expit(-logits), scipy.special.expit(logits)], axis=-1)
    return scipy.special.softmax(logits, axis=-1)


def draw_in_numpy(model, z1, uniforms, images, known) -> np.ndarray:
    """Pixel after pixel and color after color by inverting the cumulative distribution; the future is noise."""
    images = np.where(known, images, np.random.randint(model.config.pixel_levels, size=uniforms.shape))
    for row, column, color in np.ndindex(uniforms.shape[1:]):
        if known[row, column, color]:
            continue
        here = (slice(None), row, column, color)
        cumulative = probabilities(model.p_x_given_z1(images, model.pixel_decoder.condition(z1)))[here].cumsum(axis=-1)
        uniform = uniforms[here][:, None]
        if model.config.pixel_levels == 2:
            # A 1 where the uniform is under p(1): the values in falling order.
            images[here] = uniform[:, 0] < 1.0 - cumulative[:, 0]
        else:
            images[here] = (uniform >= cumulative[:, :-1]).sum(axis=-1)
    return images


@pytest.mark.parametrize(
    ("network", "config"),
    [
        ("bias, gated", tiny.COLOR),
        ("maps, relu", tiny.BINARY),
        ("independent pixels", tiny.COLOR),
        pytest.param("bias, gated", tiny.BINARY, marks=pytest.mark.exhaustive),
        pytest.param("maps, relu", tiny.COLOR, marks=pytest.mark.exhaustive),
        pytest.param("independent pixels", tiny.BINARY, marks=pytest.mark.exhaustive),
    ],
)
def test_it_inverts_the_cumulative_distribution_pixel_by_pixel_and_color_by_color(network, config):
    model = tiny.shared_model(config, **tiny.NETWORKS[network])
    keras.utils.set_random_seed(3)
    shape = (64, *config.image_shape)
    z1 = np.random.normal(size=(64, 1)).astype("float32")
    uniforms = np.random.uniform(size=shape).astype("float32")
    images = np.random.randint(config.pixel_levels, size=shape)
    known = np.zeros(config.image_shape, bool)
    for keep_rows in (0, 1):
        known[:keep_rows] = True
        found = sample_pixels_naive(model, z1, uniforms, images, known[None])
        np.testing.assert_array_equal(found, draw_in_numpy(model, z1, uniforms, images, known))
