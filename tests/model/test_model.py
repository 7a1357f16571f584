"""The model against exhaustive sums over all images and quadrature over z."""

import numpy as np
import pytest
import tiny
from agreement import assert_mean, draws
from models import few

IMAGES = tiny.all_images(tiny.BINARY)
UNCONDITIONAL = {"latent_channels": ()}
# Posteriors of these are about as wide as the prior, so that importance weights have a variance.
IMPORTANCE = ["bias, gated", "maps, gated"]


# The decoder is a distribution over images.


@pytest.mark.parametrize("embedding_channels", [0, 2])
@pytest.mark.parametrize("network", tiny.NETWORKS)
def test_the_probabilities_of_all_binary_images_given_z_sum_to_one(network, embedding_channels):
    score = tiny.scorer(tiny.shared_model(embedding_channels=embedding_channels, **tiny.NETWORKS[network]))
    z = np.array([-2.0, 0.0, 1.5])
    probabilities = np.exp(tiny.everywhere(score, IMAGES, z))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
    # z changes them, or the sums would be three times the same.
    assert np.abs(probabilities[0] - probabilities[2]).sum() > 0.02


@pytest.mark.parametrize("network", few(list(tiny.NETWORKS)[:4], tiny.FEW_NETWORKS[:2]))
def test_the_probabilities_of_all_color_images_given_z_sum_to_one(network):
    # In one of them 531,441 images; two colors in the others.
    shape = (2, 2, 3 if network == "bias, gated" else 2)
    model = tiny.shared_model(tiny.COLOR, image_shape=shape, **tiny.NETWORKS[network])
    images = tiny.all_images(model.config)
    assert len(images) == 3 ** np.prod(shape)
    probabilities = np.exp(tiny.scorer(model)(images, np.full((len(images), 1), 0.7)))
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-5)
    assert probabilities.max() > 3 / len(images)


@pytest.mark.parametrize("activation", ["gated", "relu"])
def test_without_latents_the_likelihood_is_exact_and_so_is_the_bound(activation):
    model = tiny.shared_model(activation=activation, gain=1.0, **UNCONDITIONAL)
    terms = model.elbo(IMAGES, seed=3)
    assert terms.kl == ()
    assert np.exp(terms.elbo.astype("float64")).sum() == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_array_equal(terms.elbo, -terms.reconstruction)
    np.testing.assert_allclose(terms.elbo, tiny.scorer(model)(IMAGES), rtol=1e-5)
    for samples in (1, 7):
        np.testing.assert_array_equal(model.log_likelihood(IMAGES, samples, seed=samples), terms.elbo)
    encoding = model.encode(IMAGES)
    assert encoding.mean == encoding.scale == encoding.sample == ()


# The bound.


@pytest.mark.parametrize("network", tiny.NETWORKS)
def test_the_terms_of_the_bound_are_those_of_equation_2_at_the_encoders_sample(network):
    model = tiny.shared_model(latent_channels=(3,), **tiny.NETWORKS[network])
    terms, encoding = model.elbo(IMAGES, seed=5), model.encode(IMAGES, seed=5)
    (mean,), (scale,), (sample,) = encoding
    np.testing.assert_allclose(-terms.reconstruction, tiny.scorer(model)(IMAGES, sample), rtol=1e-4, atol=1e-5)
    kl = 0.5 * (mean**2 + scale**2 - 1.0 - 2.0 * np.log(scale)).sum(axis=1)
    np.testing.assert_allclose(terms.kl[0], kl, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(terms.elbo, -terms.reconstruction - kl, rtol=1e-4, atol=1e-5)


def test_the_kl_term_agrees_with_monte_carlo():
    model = tiny.shared_model(latent_channels=(2,))
    encoding = model.encode(IMAGES)
    (mean,), (scale,) = encoding.mean, encoding.scale
    noise = np.random.default_rng(0).normal(size=(20_000, 1, 2))
    log_ratio = 0.5 * ((mean + scale * noise) ** 2 - noise**2) - np.log(scale)
    assert_mean(log_ratio.sum(axis=2), model.elbo(IMAGES).kl[0])
    assert np.ptp(model.elbo(IMAGES).kl[0]) > 0.01


def test_encoder_samples_are_those_of_the_stated_posterior():
    model = tiny.shared_model()
    encoding = model.encode(np.concatenate([IMAGES] * 500), seed=1)
    (mean,), (scale,), (sample,) = encoding
    noise = ((sample - mean) / scale).reshape(500, len(IMAGES))
    assert_mean(noise, 0.0)
    assert_mean(noise**2, 1.0)


@pytest.mark.parametrize("network", few(IMPORTANCE, IMPORTANCE[:1]))
def test_an_importance_bound_with_one_sample_is_the_elbo_in_expectation(network):
    """Both are unbiased for it; at the same noise they differ by the sampled against the closed-form KL."""
    model = tiny.shared_model(**tiny.NETWORKS[network])
    expected = tiny.exact_elbo(model, IMAGES)
    assert_mean(draws(lambda images, seed: model.elbo(images, seed).elbo, IMAGES, 1000), expected)
    assert_mean(draws(lambda images, seed: model.log_likelihood(images, 1, seed), IMAGES, 1000), expected)
    # It is a bound that is not tight here: the test above does not hold for the likelihood.
    assert np.all(expected < tiny.exact_log_likelihood(model, IMAGES))


def test_an_importance_bound_rises_with_its_samples_and_stays_below_the_likelihood():
    model = tiny.shared_model()
    exact = tiny.exact_log_likelihood(model, IMAGES)
    means, stderrs = [], []
    for samples in (1, 4, 16):
        found = draws(lambda images, seed, k=samples: model.log_likelihood(images, k, seed), IMAGES, 300)
        means.append(found.mean())
        stderrs.append(found.mean(axis=1).std(ddof=1) / np.sqrt(len(found)))
    for lower, upper, stderr in zip(means, [*means[1:], exact.mean()], stderrs, strict=True):
        assert upper - lower > 3 * stderr


@pytest.mark.parametrize("network", few(IMPORTANCE, IMPORTANCE[:1]))
def test_many_importance_samples_give_the_marginal_found_by_quadrature(network):
    model = tiny.shared_model(**tiny.NETWORKS[network], weight_normalization=True)
    exact = np.exp(tiny.exact_log_likelihood(model, IMAGES))
    assert exact.sum() == pytest.approx(1.0, abs=1e-5)
    found = np.exp(draws(lambda images, seed: model.log_likelihood(images, 500, seed), IMAGES, 16))
    # The estimate of p(x), not of its logarithm, is unbiased; and precise, so that the test can fail.
    assert_mean(found, exact)
    assert np.all(found.std(axis=0, ddof=1) / np.sqrt(len(found)) < 0.03 * exact)
    bound_gap = np.log(exact) - tiny.exact_elbo(model, IMAGES)
    assert bound_gap.mean() > 0.05


def test_the_likelihoods_loop_is_in_the_graph_and_serves_any_number_of_samples_and_images():
    """Memory does not grow with the number of samples: the decoder stands in the graph once, inside a loop."""
    model, calls = tiny.model(), []
    reconstruction = model.reconstruction

    def counted(*arguments, **named):
        calls.append(arguments)
        return reconstruction(*arguments, **named)

    model.reconstruction = counted
    for samples in (1, 2, 50):
        for count in (1, 10):
            assert model.log_likelihood(IMAGES[:count], samples).shape == (count,)
    assert len(calls) == 1
