"""How several tests compare: two samplers, samples and probabilities, estimates and what they estimate."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from pixelvae_tf import PixelVAE
from pixelvae_tf.sampling.cached import sample_latents_cached, sample_pixels_cached
from pixelvae_tf.sampling.naive import sample_latents_naive, sample_pixels_naive
from pixelvae_tf.sampling.noise import draw_noise


def assert_same(model: PixelVAE, batch_size: int, known_share: float = 0.0, temperature: float = 1.0) -> None:
    """Both samplers draw the same latents, up to rounding, and the same images."""
    config = model.config
    noise = draw_noise(config, batch_size, seed=1)
    generator = np.random.default_rng(2)
    images = generator.integers(config.pixel_levels, size=noise.pixels.shape)
    known = generator.uniform(size=noise.pixels.shape) < known_share

    @tf.function(autograph=False)
    def draw():
        z, cached_z = sample_latents_naive(model, noise.latents), sample_latents_cached(model, noise.latents)
        given = (images, known) if known_share else (None, None)
        naive = sample_pixels_naive(model, z, noise.pixels, *given, temperature)
        quick = sample_pixels_cached(model, z, noise.pixels, *given, temperature)
        return (z, cached_z) if config.num_levels else (), naive, quick

    latents, naive, quick = tf.nest.map_structure(np.asarray, draw())
    if latents:
        np.testing.assert_allclose(latents[1], latents[0], atol=1e-4)
    np.testing.assert_array_equal(quick, naive)
    assert len(np.unique(naive)) > 1
    np.testing.assert_array_equal(quick[known], images[known])


def assert_frequencies(samples, config, log_p) -> None:
    """Samples have the frequencies of all images, by a chi-square test; rare images are taken together."""
    places = config.pixel_levels ** np.arange(config.num_dimensions)[::-1]
    counts = np.bincount(samples.reshape(len(samples), -1) @ places, minlength=len(log_p))
    expected = np.exp(log_p.astype("float64")) * len(samples)
    common = expected >= 5
    observed = np.append(counts[common], counts[~common].sum())
    expected = np.append(expected[common], expected[~common].sum() + 1e-9)
    assert common.sum() > 30
    assert expected.sum() == pytest.approx(len(samples), rel=1e-4)
    expected *= len(samples) / expected.sum()
    assert scipy.stats.chisquare(observed, expected).pvalue > 1e-3
    # A test that could not tell the model from uniform pixels would show nothing.
    uniform = np.full(len(log_p), len(samples) / len(log_p))
    assert scipy.stats.chisquare(counts, uniform).pvalue < 1e-9


def draws(estimate, images, repeats: int, seed: int = 0) -> np.ndarray:
    """An estimate for every image with independent noise, (repeats, images): each copy in a batch has its own."""
    copies = np.concatenate([images] * repeats)
    return np.asarray(estimate(copies, seed), "float64").reshape(repeats, len(images))


def assert_mean(draws, expected, most: float = 5.0) -> None:
    """The means of the draws are as expected, within that many standard errors."""
    error = np.abs(draws.mean(axis=0) - expected)
    stderr = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
    assert np.all(error <= most * stderr + 1e-6), (error / stderr).max()
