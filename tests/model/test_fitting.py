"""The training step against its statement: clipping, warm-up, averaged weights; and that it learns."""

import keras
import numpy as np
import pytest
import tiny
from fitting import fit, flat, weights_of

from pixelvae_tf import DataConfig, ModelConfig, PixelVAE, data
from pixelvae_tf.config import ConfigError

pytestmark = pytest.mark.eagerly

IMAGES = tiny.all_images(tiny.BINARY)[::3]


def step_taken(**settings) -> tuple[np.ndarray, dict]:
    """The change of all weights, and the report, in one step of gradient descent at rate 1, without any noise."""
    model = tiny.model(tiny.LEAST, latent_channels=(), gain=1.5)
    model.compile(keras.optimizers.SGD(1.0), **settings)
    before = flat(weights_of(model))
    logs = fit(model, IMAGES, 1).logs[0]
    return before - flat(weights_of(model)), logs


def test_gradients_are_clipped_by_value_element_by_element():
    gradient, _ = step_taken()
    limit = float(np.quantile(np.abs(gradient), 0.7))
    clipped, logs = step_taken(clip_value=limit)
    np.testing.assert_allclose(clipped, np.clip(gradient, -limit, limit), rtol=1e-3, atol=1e-6)
    assert logs["gradient_norm"] == pytest.approx(np.linalg.norm(gradient), rel=1e-3)


def test_gradients_are_scaled_down_to_a_global_norm_and_never_up():
    gradient, logs = step_taken()
    norm = np.linalg.norm(gradient)
    assert logs["gradient_norm"] == pytest.approx(norm, rel=1e-3)
    halved, logs = step_taken(clip_norm=norm / 2)
    np.testing.assert_allclose(halved, gradient / 2, rtol=1e-3, atol=1e-6)
    # The report is of the gradient as it was.
    assert logs["gradient_norm"] == pytest.approx(norm, rel=1e-3)
    np.testing.assert_allclose(step_taken(clip_norm=2 * norm)[0], gradient, rtol=1e-3, atol=1e-6)


def test_the_kl_weight_warms_up_in_the_loss_and_not_in_the_bound():
    model = tiny.model(tiny.LEAST, latent_channels=(2,))
    model.compile(keras.optimizers.SGD(1e-3), kl_warmup_steps=(4,))
    logs = fit(model, IMAGES, 6).logs
    assert [log["kl_weight_z1"] for log in logs] == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0, 1.0])
    for log in logs:
        assert log["kl_z1"] > 0.01
        assert log["loss"] == pytest.approx(log["reconstruction"] + log["kl_weight_z1"] * log["kl_z1"], rel=1e-5)
        assert log["bound"] == pytest.approx(log["reconstruction"] + log["kl_z1"], rel=1e-5)


def test_the_weight_of_the_kl_scales_what_it_adds_to_the_gradient():
    """At the same noise; the KL to a standard normal depends on the encoder alone."""
    steps = {}
    for warmup in (0, 1):
        # The first step's weight is 1 without a warm-up and 0 with one.
        model = tiny.model(tiny.LEAST, **tiny.NETWORKS["independent pixels"])
        model.compile(keras.optimizers.SGD(1.0), kl_warmup_steps=(warmup,), seed=3)
        of_encoder = {id(variable) for variable in model.encoder.trainable_variables}
        before = weights_of(model)
        fit(model, IMAGES, 1)
        moved = zip(model.trainable_variables, before, weights_of(model), strict=True)
        steps[warmup] = [(id(variable) in of_encoder, old - new) for variable, old, new in moved]
    for (of_encoder, full), (_, none) in zip(*steps.values(), strict=True):
        if of_encoder:
            assert not np.allclose(full, none, rtol=1e-2)
        else:
            np.testing.assert_array_equal(full, none)


@pytest.mark.parametrize(("settings", "share"), [({"kl_weight": 0.25}, 0.25), ({"free_bits": 50.0}, 0.0)])
def test_the_training_loss_weighs_the_kl_as_it_is_told_and_the_bound_counts_all_of_it(settings, share):
    model = tiny.model()
    model.compile(keras.optimizers.SGD(0.0), **settings)
    logs = fit(model, IMAGES, 1).logs[0]
    free = settings.get("free_bits", 0.0)
    assert logs["kl_z1"] > 0.01
    assert logs["loss"] == pytest.approx(logs["reconstruction"] + share * logs["kl_z1"] + free, rel=1e-5)
    assert logs["bound"] == pytest.approx(logs["reconstruction"] + logs["kl_z1"], rel=1e-5)


def test_a_level_that_carries_more_than_its_free_bits_is_trained_as_without_them():
    moved = {}
    for name, settings in {"none": {}, "few": {"free_bits": 1e-4}, "many": {"free_bits": 50.0}}.items():
        model = tiny.model(tiny.LEAST)
        model.compile(keras.optimizers.SGD(0.1), seed=3, **settings)
        fit(model, IMAGES, 2)
        moved[name] = flat(weights_of(model))
    np.testing.assert_allclose(moved["few"], moved["none"], rtol=1e-5, atol=1e-7)
    assert not np.allclose(moved["many"], moved["none"], rtol=1e-3)


@pytest.mark.parametrize("name", ["kl_weight", "free_bits", "dropout"])
def test_compile_refuses_what_the_flags_refuse(name):
    with pytest.raises(ConfigError, match=name):
        tiny.model(tiny.LEAST).compile(**{name: -1.0})


def test_the_same_seed_trains_the_same_weights_and_another_seed_others():
    found = []
    for seed in (1, 1, 2):
        model = tiny.model(tiny.LEAST, **tiny.NETWORKS["independent pixels"])
        model.compile(keras.optimizers.SGD(1e-2), seed=seed)
        fit(model, IMAGES, 3)
        found.append(flat(weights_of(model)))
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_every_step_draws_noise_of_its_own():
    model = tiny.model(tiny.LEAST)
    model.compile(keras.optimizers.SGD(0.0))
    losses = [log["reconstruction"] for log in fit(model, IMAGES, 4).logs]
    assert len(set(losses)) == 4


def test_averaged_weights_follow_the_stated_recursion():
    model = tiny.model(tiny.LEAST)
    average = flat(weights_of(model))
    model.compile(keras.optimizers.SGD(0.1), ema_decay=0.3)
    for count, weights in enumerate(fit(model, IMAGES, 8).weights):
        keep = min(0.3, (1 + count) / (10 + count))
        average = keep * average + (1 - keep) * flat(weights)
    np.testing.assert_allclose(flat(model.average.averages), average, rtol=1e-4, atol=1e-6)
    assert not np.allclose(average, flat(weights_of(model)), rtol=1e-3)


def test_averaged_weights_are_in_place_for_a_block_and_the_others_come_back_bit_for_bit():
    model = tiny.model(tiny.LEAST)
    model.compile(keras.optimizers.SGD(0.1), ema_decay=0.9)
    fit(model, IMAGES, 5)
    before, bound = weights_of(model), model.elbo(IMAGES).elbo
    averaged = [average.numpy() for average in model.average.averages]
    with model.evaluation_weights() as kind:
        assert kind == "averaged"
        np.testing.assert_array_equal(flat(weights_of(model)), flat(averaged))
        # Graphs that were traced before use them too.
        assert not np.array_equal(model.elbo(IMAGES).elbo, bound)
    np.testing.assert_array_equal(flat(weights_of(model)), flat(before))
    np.testing.assert_array_equal(model.elbo(IMAGES).elbo, bound)
    with pytest.raises(KeyboardInterrupt), model.evaluation_weights():
        raise KeyboardInterrupt
    np.testing.assert_array_equal(flat(weights_of(model)), flat(before))


def test_without_an_average_evaluation_uses_the_weights_as_they_are():
    model = tiny.model(tiny.LEAST)
    model.compile(keras.optimizers.SGD(0.1))
    before = weights_of(model)
    with model.evaluation_weights() as kind:
        assert kind == "raw"
        np.testing.assert_array_equal(flat(weights_of(model)), flat(before))


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_the_validation_bound_is_the_mean_over_images_whatever_the_batch_size(batch_size):
    model = tiny.model(tiny.LEAST, latent_channels=(), gain=1.5)
    model.compile()
    found = model.evaluate(IMAGES[:21], batch_size=batch_size, verbose=0, return_dict=True)
    assert found["bound"] == pytest.approx(-model.elbo(IMAGES[:21]).elbo.mean(), rel=1e-5)


def test_the_validation_bound_agrees_with_the_elbo_of_the_interface():
    model = tiny.model(tiny.LEAST, latent_channels=(2,))
    model.compile()
    copies = np.concatenate([IMAGES] * 100)
    found = model.evaluate(copies, batch_size=500, verbose=0, return_dict=True)
    terms = model.elbo(copies, seed=1)
    # The KL is in closed form and needs no noise.
    assert found["kl_z1"] == pytest.approx(terms.kl[0].mean(), rel=1e-5)
    assert found["bound"] == pytest.approx(found["reconstruction"] + found["kl_z1"], rel=1e-5)
    stderr = np.sqrt(2) * terms.reconstruction.std() / np.sqrt(len(copies))
    assert abs(found["reconstruction"] - terms.reconstruction.mean()) < 5 * stderr
    assert found == model.evaluate(copies, batch_size=500, verbose=0, return_dict=True)


@pytest.mark.eagerly(False)
def test_thirty_steps_on_the_digits_learn():
    config = ModelConfig(
        image_shape=(8, 8, 1),
        pixel_levels=17,
        latent_channels=(4,),
        encoder_channels=(8, 8),
        pixelcnn_layers=2,
        first_kernel_size=3,
        kernel_size=3,
    )
    model = PixelVAE(config)
    images = np.asarray(data.load(DataConfig(), "train"))[:960]
    held_out = np.asarray(data.load(DataConfig(), "validation"))
    before = model.elbo(held_out).elbo.mean()
    model.compile(keras.optimizers.Adam(3e-3), clip_value=1.0)
    bounds = [log["bound"] for log in fit(model, images, 30, batch_size=96).logs]
    assert np.mean(bounds[-5:]) < 0.85 * np.mean(bounds[:5])
    assert model.elbo(held_out).elbo.mean() > 0.85 * before
