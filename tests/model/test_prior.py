"""A model with a learned prior: its bound and likelihood against quadrature, its samples, and what else it must do."""

import dataclasses
import functools

import keras
import models
import numpy as np
import pytest
import tensorflow as tf
import tiny
from agreement import assert_frequencies, assert_mean, assert_same, draws

from pixelvae_tf import ModelConfig, PixelVAE
from pixelvae_tf.config import ConfigError
from pixelvae_tf.sampling.naive import sample_latents_naive
from pixelvae_tf.sampling.noise import latent_noise, with_temperature

IMAGES = tiny.all_images(tiny.BINARY)
FLOW = dataclasses.replace(
    tiny.BINARY,
    latent_channels=(2,),
    prior="flow",
    prior_couplings=2,
    prior_layers=1,
    prior_channels=8,
    weight_normalization=True,
)


@functools.cache
def flow_model() -> PixelVAE:
    """Over two dimensions, with a prior that is no standard normal, and yet covered by the posteriors."""
    model = tiny.model(FLOW)
    for coupling in model.prior_flow.couplings:
        coupling.output_layer.kernel.assign(0.7 * coupling.output_layer.kernel)
    return model


@functools.cache
def quadrature() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights (points,), latents (points, 2) and log p(x given z) (points, images), on a grid of the prior's noise.

    So the prior is integrated over without its density.
    """
    axis, step = np.linspace(-5.0, 5.0, 41, retstep=True)
    noise = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2).astype("float32")
    weights = np.exp(-0.5 * np.sum(noise**2, axis=1)) / (2 * np.pi) * step**2
    z = np.asarray(flow_model().prior_flow.inverse(noise))
    repeated = np.broadcast_to(IMAGES, (len(z), *IMAGES.shape)).reshape(-1, *IMAGES.shape[1:])
    log_p = tiny.scorer(flow_model())(repeated, np.repeat(z, len(IMAGES), axis=0))
    return weights, z, log_p.reshape(len(z), len(IMAGES))


def exact_log_likelihood() -> np.ndarray:
    weights, _, log_p = quadrature()
    return np.log(weights @ np.exp(log_p))


def test_importance_samples_give_the_marginal_found_by_quadrature():
    exact = np.exp(exact_log_likelihood())
    assert exact.sum() == pytest.approx(1.0, abs=1e-4)
    found = np.exp(draws(lambda images, seed: flow_model().log_likelihood(images, 500, seed), IMAGES, 16))
    assert_mean(found, exact)
    assert np.all(found.std(axis=0, ddof=1) / np.sqrt(len(found)) < 0.05 * exact)
    # By a standard normal prior they would not.
    plain = tiny.model(FLOW, prior="standard_normal")
    decoder = [weight for weight in flow_model().weights if "prior_flow" not in weight.path]
    plain.set_weights([weight.numpy() for weight in decoder])
    of_plain = np.exp(draws(lambda images, seed: plain.log_likelihood(images, 500, seed), IMAGES, 16))
    assert np.abs(of_plain.mean(axis=0) / exact - 1.0).max() > 0.15


def test_the_bound_at_some_noise_is_the_logarithm_of_the_importance_weight_there():
    model = flow_model()
    noise = latent_noise(model.config, len(IMAGES), 5)
    terms = model.elbo_terms(IMAGES, noise)
    np.testing.assert_allclose(
        terms.elbo, model.log_importance_weight(IMAGES, model.q_z_given_x(IMAGES), noise), rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(terms.elbo, -terms.reconstruction - terms.kl[0], rtol=1e-6)
    assert np.all(
        draws(lambda images, seed: model.elbo(images, seed).elbo, IMAGES, 200).mean(axis=0) < exact_log_likelihood()
    )


def test_the_kl_to_a_fresh_flow_is_in_expectation_that_to_a_standard_normal_and_has_its_gradient():
    flowing, plain = PixelVAE(FLOW), PixelVAE(dataclasses.replace(FLOW, prior="standard_normal"))
    trained = tiny.model(FLOW, prior="standard_normal")
    for model in (flowing, plain):
        for variable, weight in zip(model.encoder.weights, trained.encoder.weights, strict=True):
            variable.assign(weight)
    assert_mean(draws(lambda images, seed: flowing.elbo(images, seed).kl[0], IMAGES, 300), plain.elbo(IMAGES).kl[0])
    gradients = []
    for model in (flowing, plain):
        copies = np.concatenate([IMAGES] * 300)
        noise = latent_noise(model.config, len(copies), 1)
        with tf.GradientTape() as tape:
            kl = tf.reduce_mean(model.elbo_terms(copies, noise).kl[0])
        gradients.append(np.concatenate([np.ravel(part) for part in tape.gradient(kl, model.encoder.weights)]))
    np.testing.assert_allclose(*gradients, atol=0.05 * np.abs(gradients[1]).max())


def test_samples_have_the_frequencies_of_the_marginal_over_all_images():
    images = flow_model().sample(20_000, seed=1).astype("int64")
    assert_frequencies(images, FLOW, exact_log_likelihood())


@pytest.mark.exhaustive
def test_a_hierarchy_under_a_flow_draws_the_images_of_the_naive_sampler():
    changes = {"latent_channels": (2, 3), "latent_strides": (2, 0), "prior": "flow", "prior_channels": 8}
    assert_same(models.model(models.COLOR, **changes), batch_size=3, temperature=0.7)


def test_the_temperature_is_of_the_noise_behind_the_flow():
    model = flow_model()
    noise = latent_noise(FLOW, 4, 0)
    z = sample_latents_naive(model, with_temperature(noise, [0.5]))
    np.testing.assert_allclose(z, model.prior_flow.inverse(0.5 * noise[0]), rtol=1e-6)
    # All else the same, images along a row differ by that noise.
    grid = model.sample_varying("top", rows=2, columns=50, temperature=(1e-3, 1.0))
    assert len(np.unique(grid[:50], axis=0)) > 1


def test_the_flow_computes_in_float32_in_a_model_of_bfloat16():
    model = tiny.model(FLOW, dtype="mixed_bfloat16")
    assert model.compute_dtype == "bfloat16"
    assert {layer.compute_dtype for layer in model.prior_flow._flatten_layers()} == {"float32"}
    terms = model.elbo(IMAGES)
    assert terms.kl[0].dtype == terms.elbo.dtype == np.float32
    z = tf.constant(np.random.normal(size=(50, 2)), tf.float32)
    model.prior_flow.set_weights(flow_model().prior_flow.get_weights())
    np.testing.assert_array_equal(model.p_topmost(z).log_prob(z), flow_model().p_topmost(z).log_prob(z))


def test_saved_weights_and_a_saved_configuration_rebuild_it(tmp_path):
    model = flow_model()
    model.save_weights(tmp_path / "model.weights.h5")
    other = PixelVAE.from_config(model.get_config())
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(other.sample(20, seed=3), model.sample(20, seed=3))
    np.testing.assert_array_equal(other.elbo(IMAGES).elbo, model.elbo(IMAGES).elbo)


def test_a_configuration_from_before_there_was_a_choice_has_the_papers_prior():
    old = {name: value for name, value in tiny.BINARY.to_dict().items() if not name.startswith("prior")}
    assert ModelConfig.from_dict(old) == tiny.BINARY
    assert PixelVAE(ModelConfig.from_dict(old)).prior_flow is None


def test_training_moves_the_flow_and_lowers_the_bound():
    model = PixelVAE(dataclasses.replace(FLOW, pixelcnn_layers=1, output_layers=0))
    images = IMAGES[::3]
    model.compile(keras.optimizers.Adam(1e-2), ema_decay=0.5)
    before = [weight.numpy() for weight in model.prior_flow.weights]
    bound = -model.elbo(images).elbo.mean()
    batches = tf.data.Dataset.from_tensors(images).repeat()
    model.fit(batches, steps_per_epoch=30, shuffle=False, verbose=0)
    assert all(not np.array_equal(old, new) for old, new in zip(before, model.prior_flow.weights, strict=True))
    assert -model.elbo(images).elbo.mean() < bound - 0.3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"latent_channels": ()}, "no latents"),
        ({"latent_channels": (1,)}, "two dimensions"),
        (
            {"network": "residual", "conditioning": "maps", "latent_channels": (3,), "latent_strides": (1,)},
            "map of latents",
        ),
        ({"prior_couplings": 0}, "prior_couplings"),
    ],
)
def test_it_is_refused_where_it_cannot_be(changes, reason):
    with pytest.raises(ConfigError, match=reason) as error:
        ModelConfig(**{"image_shape": (4, 4, 1), "encoder_channels": (4,), "upsampling_channels": (4,),
                       "prior": "flow", **changes})  # fmt: skip
    assert "\n" not in str(error.value)
    assert "prior" in str(error.value)
