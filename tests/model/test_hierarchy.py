"""Several levels of latents: the bound and the likelihood against Monte Carlo, and what each level may see."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny
from causality import dependence, earlier
from models import COLOR, THREE_LEVELS, VARIANTS, few, shared_model, some_images

from pixelvae_tf.probability import objectives
from pixelvae_tf.sampling.naive import draw_level_naive, sample_latents_naive
from pixelvae_tf.sampling.noise import latent_noise, sample_posteriors, varying_noise


@pytest.mark.parametrize(
    "variant", few(VARIANTS, VARIANTS.keys() - {"two levels", "log scales", "no batch normalization"})
)
def test_the_probabilities_of_all_images_given_z_sum_to_one(variant):
    network = shared_model(COLOR, **VARIANTS[variant])
    images = tiny.all_images(network.config)
    assert len(images) == 2**12
    noise = latent_noise(network.config, 1, seed=3)
    z1 = sample_latents_naive(network, noise)
    repeated = None if z1 is None else tf.repeat(z1, len(images), axis=0)
    log_p = objectives.sum_over_dimensions(
        network.p_x_given_z1(images, network.pixel_decoder.condition(repeated)).log_prob(images)
    )
    assert np.exp(np.float64(log_p)).sum() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("variant", ["three levels", "masked residual blocks", "log scales"])
def test_the_kl_of_each_level_agrees_with_monte_carlo(variant):
    network = shared_model(**VARIANTS[variant])
    images = np.repeat(some_images(network.config, 1), 5_000, axis=0)
    noise = latent_noise(network.config, len(images), seed=1)
    posteriors = network.q_z_given_x(images)
    samples = sample_posteriors(posteriors, noise)
    closed = network.elbo_terms(images, noise).kl
    for q, p, z, kl in zip(posteriors, network.priors(samples), samples, closed, strict=True):
        log_ratio = objectives.sum_over_dimensions(q.log_prob(z) - p.log_prob(z)).numpy()
        difference = log_ratio - kl.numpy()
        assert abs(difference.mean()) < 5 * difference.std() / np.sqrt(len(images)) + 1e-5
        assert kl.numpy().mean() > 0


def test_the_likelihood_of_three_levels_agrees_with_ancestral_sampling():
    network = tiny.model(THREE_LEVELS, gain=1.0)
    # Posteriors nearly as wide as the priors, without which the importance weights of so few samples vary too much.
    for head in network.encoder.heads:
        head.kernel.assign(0.1 * head.kernel)
        head.bias.assign(np.float32([0.0, 20.0]))
    images = some_images(network.config, 3)
    draws = 20_000
    z1 = sample_latents_naive(network, latent_noise(network.config, draws, seed=5))
    estimate = network.log_likelihood(images, importance_samples=3_000, seed=2)
    for image, found in zip(images, estimate, strict=True):
        copies = np.repeat(image[None], draws, axis=0)
        p = np.exp(
            objectives.sum_over_dimensions(
                network.p_x_given_z1(copies, network.pixel_decoder.condition(z1)).log_prob(copies)
            ).numpy()
        )
        stderr = p.std() / np.sqrt(draws) / p.mean()
        assert found == pytest.approx(np.log(p.mean()), abs=5 * stderr + 0.1)


@pytest.mark.exhaustive
def test_more_importance_samples_raise_the_bound_of_three_levels():
    network = shared_model()
    images = some_images(network.config, 500)
    one, many = (network.log_likelihood(images, count, seed=1).mean() for count in (1, 50))
    elbo = network.elbo(images, seed=1).elbo
    assert many > one
    assert one == pytest.approx(elbo.mean(), abs=0.2)


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("masked_blocks", ["stacks", "residual"])
def test_each_position_of_a_latent_map_sees_only_the_positions_before_it(level, masked_blocks):
    network = shared_model(masked_blocks=masked_blocks)
    height, width, _ = network.config.latent_shapes[level]
    generator = np.random.default_rng(0)
    z_upper = generator.normal(size=(1, *network.config.latent_shapes[level + 1])).astype("float32")

    decoder = network.latent_decoders[level]

    def prior_of(z):
        prior = network.p_z_given_upper(level, z, decoder.condition(tf.repeat(z_upper, len(z), axis=0)))
        return tf.concat([prior.mean, prior.scale], axis=-1)

    strength = dependence(prior_of, generator.normal(size=(4, height, width, 1)))
    seen = strength.sum(axis=(2, 5)) > 0
    expected = earlier(height, width, 1)[:, :, 0, :, :, 0]
    assert not np.any(seen & ~expected)
    if masked_blocks == "stacks":
        # 3x3 kernels in two layers reach two positions; all of these maps but the far corner.
        near = np.abs(np.arange(width)[:, None] - np.arange(width)) <= 2
        np.testing.assert_array_equal(seen, expected & near[None, :, None, :])


@pytest.mark.parametrize("variant", ["three levels", "Gaussian prior"])
def test_ancestral_samples_of_latents_are_their_noise_under_the_prior_they_condition(variant):
    network = shared_model(**VARIANTS[variant])
    noise = latent_noise(network.config, 8, seed=0)
    samples = list(noise)
    for level in reversed(range(network.config.num_levels - 1)):
        samples[level] = sample_latents_naive(network, tuple(noise)) if level == 0 else None
        if level == 1:
            decoder = network.latent_decoders[1]
            condition = decoder.condition(samples[2])
            if decoder.masked is None:
                samples[1] = network.p_z_given_upper(1, noise[1], condition).sample(noise[1])
            else:
                samples[1] = draw_level_naive(network, 1, condition, noise[1])
    for z, prior, level_noise in zip(samples, network.priors(samples), noise, strict=True):
        np.testing.assert_allclose(prior.sample(level_noise), z, atol=1e-5)


def test_the_floor_of_the_priors_scale_is_for_training_alone():
    network = shared_model()
    images = some_images(network.config, 4)
    noise = latent_noise(network.config, 4, seed=0)
    samples = sample_posteriors(network.q_z_given_x(images), noise)
    floored, free = network.priors(samples, 0.75), network.priors(samples)
    assert all(np.all(prior.scale.numpy() >= 0.75) for prior in floored[:-1])
    assert any(np.any(prior.scale.numpy() < 0.75) for prior in free[:-1])
    np.testing.assert_allclose(network.elbo(images, seed=0).elbo, network.elbo_terms(images, noise).elbo, rtol=1e-5)


def test_an_images_bound_does_not_depend_on_its_batch():
    network = shared_model()
    images = some_images(network.config, 6)
    noise = latent_noise(network.config, 6, seed=0)
    whole = network.elbo_terms(images, noise).elbo
    parts = [network.elbo_terms(images[i : i + 1], [level[i : i + 1] for level in noise]).elbo for i in range(6)]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-5)


# Vectors and maps as the only latents, above others and below them.
@pytest.mark.parametrize(
    "variant", few(["three levels", "two levels of maps", "one level", "no level"], ["three levels"])
)
def test_every_variant_learns(variant):
    network = tiny.model(COLOR, gain=1.0, **VARIANTS[variant])
    network.compile(keras.optimizers.SGD(0.03), kl_warmup_steps=(3, 3), prior_scale_floor_steps=5, clip_norm=5.0)
    batches = tf.data.Dataset.from_tensors(some_images(network.config, 16) // 2).repeat()
    history = network.fit(batches, steps_per_epoch=15, epochs=2, verbose=0).history
    assert history["bound"][1] < history["bound"][0]
    assert all(np.isfinite(values).all() for values in history.values())
    statistics = [value for value in network.non_trainable_variables if "moving_mean" in value.path]
    expected = network.config.batch_normalization and network.config.num_levels > 0
    assert bool(statistics) == expected
    assert all(np.any(value.numpy() != 0) for value in statistics)


def test_the_kl_weights_of_two_levels_follow_each_other():
    network = tiny.model(COLOR, gain=1.0, **VARIANTS["two levels"], latent_pixelcnn_layers=0, pixelcnn_layers=1)
    network.compile("sgd", kl_warmup_steps=(4, 2))
    batches = tf.data.Dataset.from_tensors(some_images(network.config, 4))
    weights = [network.fit(batches, verbose=0).history for _ in range(5)]
    np.testing.assert_allclose([step["kl_weight_z1"][0] for step in weights], [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose([step["kl_weight_z2"][0] for step in weights], [0, 0.125, 0.5, 0.75, 1])


@pytest.mark.parametrize("vary", ["top", "middle", "pixels"])
def test_only_the_chosen_level_of_noise_varies_along_a_row(vary):
    noise = varying_noise(THREE_LEVELS, 3, 4, vary, seed=1)
    changing = {"top": [2], "middle": [0, 1], "pixels": [3]}[vary]
    for index, values in enumerate([*noise.latents, noise.pixels]):
        rows = values.numpy().reshape(3, 4, -1)
        same_along_rows = np.array_equal(rows, np.repeat(rows[:, :1], 4, axis=1))
        assert same_along_rows == (index not in changing)
        assert not np.array_equal(rows[0, 0], rows[1, 0])


def test_a_grid_of_varied_pixels_shares_its_latents_and_a_level_that_is_not_there_is_refused():
    network = shared_model(**VARIANTS["one level"])
    images = network.sample_varying("pixels", 2, 3, seed=0)
    assert images.shape == (6, *network.config.image_shape)
    np.testing.assert_array_equal(images, network.sample_varying("pixels", 2, 3, seed=0))
    with pytest.raises(ValueError, match="vary='middle': this model has top, pixels"):
        network.sample_varying("middle", 2, 2)
