"""Models that are conditional on the class of an image."""

import dataclasses

import keras
import models
import numpy as np
import pytest
import tensorflow as tf
import tiny

from pixelvae_tf import ModelConfig
from pixelvae_tf.config import ConfigError
from pixelvae_tf.data import Classes
from pixelvae_tf.errors import UserError
from pixelvae_tf.evaluation import bayes
from pixelvae_tf.evaluation import likelihood as likelihood_of
from pixelvae_tf.model import serving
from pixelvae_tf.sampling.noise import latent_noise

CLASSES = 3
# Of every kind of network that a label enters.
VARIANTS = {
    "stacks without latents": dataclasses.replace(tiny.BINARY, latent_channels=()),
    "stacks and a vector": tiny.BINARY,
    "stacks and two levels of maps": dataclasses.replace(
        models.THREE_LEVELS, latent_channels=(1, 1), latent_strides=(1, 2)
    ),
    "LSTM and a vector": dataclasses.replace(tiny.BINARY, masked_blocks="diagonal_bilstm"),
    "residual blocks and a learned prior": dataclasses.replace(
        models.COLOR,
        latent_channels=(2, 2),
        latent_strides=(1, 0),
        masked_blocks="residual",
        output_layers=1,
        prior="flow",
        prior_couplings=2,
        prior_layers=1,
        prior_channels=8,
    ),
    "independent positions": dataclasses.replace(
        models.THREE_LEVELS, latent_channels=(2, 2), latent_strides=(1, 2), latent_pixelcnn_layers=0, pixelcnn_layers=0
    ),
}
NAMES = pytest.mark.parametrize("name", VARIANTS)
DIFFERENT = models.few(VARIANTS, VARIANTS.keys() - {"stacks and a vector", "stacks and two levels of maps"})


def shared(name: str):
    """A model of classes whose labels matter as much as its pixels."""
    return tiny.shared_model(VARIANTS[name], 1.0 if VARIANTS[name].network == "residual" else 2.0, num_classes=CLASSES)


def some(config: ModelConfig, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images and labels."""
    return models.some_images(config, count), np.arange(count) % CLASSES


@pytest.mark.parametrize("name", DIFFERENT)
def test_both_samplers_draw_the_same_images_of_a_class(name):
    model, labels = shared(name), np.arange(12) % CLASSES
    drawn = model.sample(12, seed=1, label=labels)
    np.testing.assert_array_equal(drawn, model.sample(12, seed=1, label=labels, method="naive"))
    # The noise of the first image, as class 2.
    other = model.sample(12, seed=1, label=2)
    np.testing.assert_array_equal(other[labels == 2], drawn[labels == 2])


@NAMES
def test_a_label_reaches_every_gate_and_the_encoder_through_the_weights_of_its_class_alone(name):
    model = shared(name)
    images, labels = some(model.config, 8)
    noise = tuple(np.random.normal(size=(8, *shape)).astype("float32") for shape in model.config.latent_shapes)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(images, noise=noise, label=labels % 2).elbo)
    gradients = tape.gradient(loss, model.trainable_variables, unconnected_gradients="zero")
    by_path = {
        variable.path: tf.convert_to_tensor(gradient).numpy()
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
    }
    of_classes = {path: gradient for path, gradient in by_path.items() if path.endswith("/vectors")}
    assert any("/label_input/" in path for path in of_classes) == bool(model.config.num_levels)
    for path, gradient in of_classes.items():
        assert not gradient[2].any()
        # The last unit of the vertical stack has no use; nor has its own bias.
        unit = [path.replace("of_class/vectors", other) for other in ("linear/bias", "bias")]
        own = [by_path[other] for other in unit if other in by_path and other != path]
        used = own[0] != 0 if own else np.ones(gradient.shape[1:], bool)
        np.testing.assert_array_equal(gradient[:2].any(axis=0), used, err_msg=path)


@pytest.mark.parametrize("name", ["stacks without latents", "LSTM and a vector"])
def test_probabilities_of_all_images_sum_to_one_for_each_class_and_differ(name):
    model = shared(name)
    images = tiny.all_images(model.config)
    z = [
        np.random.normal(size=(1, *shape)).astype("float32").repeat(len(images), 0)
        for shape in model.config.latent_shapes
    ]
    log_p = []
    for label in range(CLASSES):
        labels = np.full(len(images), label, "int32")
        log_p.append(-np.asarray(model.reconstruction(images, z, label=labels), "float64"))
    np.testing.assert_allclose(np.exp(log_p).sum(axis=1), 1.0, rtol=1e-4)
    assert min(np.abs(np.exp(log_p[0]) - np.exp(other)).sum() for other in log_p[1:]) > 0.01


def test_the_importance_estimate_and_the_bound_are_of_the_given_class():
    model = shared("stacks and a vector")
    images, labels = some(model.config, 6)
    estimate = model.log_likelihood(images, 7, seed=3, label=labels)
    bound = model.elbo(images, seed=3, label=labels).elbo
    means = model.encode(images, label=labels).mean[0]
    for label in range(CLASSES):
        np.testing.assert_allclose(
            estimate[labels == label], model.log_likelihood(images, 7, 3, label)[labels == label], rtol=1e-5
        )
        np.testing.assert_allclose(
            bound[labels == label], model.elbo(images, 3, label).elbo[labels == label], rtol=1e-5
        )
        assert (means != model.encode(images, label=label).mean[0])[labels != label].all()


def compiled(learning_rate: float = 0.0, **changes):
    model = tiny.model(tiny.LEAST, num_classes=CLASSES, **changes)
    model.compile(keras.optimizers.Adam(learning_rate))
    return model


def test_fit_learns_what_the_classes_tell_apart():
    model = compiled(0.05, latent_channels=(), gain=1.0)
    # Two pictures of 6 pixels, each of a class of its own: a model that is given the class has nothing left to guess.
    images = np.stack([np.zeros((2, 3, 1)), np.ones((2, 3, 1))]).astype("uint8").repeat(8, axis=0)
    labels = np.repeat([0, 2], 8)
    before = -model.elbo(images, label=labels).elbo.mean()
    many = [np.concatenate([array] * 40) for array in (images, labels)]
    history = model.fit(*many, batch_size=16, shuffle=False, verbose=0, validation_data=(images, labels)).history
    assert history["val_loss"][-1] < 0.1 < before
    stream = tf.data.Dataset.from_tensor_slices((images, labels)).batch(5)
    found = model.evaluate(stream, verbose=0, return_dict=True)["bound"]
    assert found == pytest.approx(-model.elbo(images, label=labels).elbo.mean(), rel=1e-4)
    np.testing.assert_allclose(model.predict(stream, verbose=0).elbo, model.elbo(images, label=labels).elbo, rtol=1e-4)
    np.testing.assert_array_equal(model.sample(6, label=0), 0)
    np.testing.assert_array_equal(model.sample(6, label=[2] * 6), 1)


WRONG = {
    "none": (None, "label: is missing; this model is conditional on the class of an image: give whole numbers 0..2"),
    "no class": (3, "label=3: give whole numbers 0..2"),
    "below 0": ([0, 1, -1, 0], "label=-1: give whole numbers 0..2"),
    "fractions": (1.0, "label of type float64"),
    "words": ("cat", "label of type str"),
    "too few": ([0, 1], "label of shape (2,): there are 4 images; give one class for all, or as many"),
}


@pytest.mark.parametrize(("label", "words"), WRONG.values(), ids=WRONG)
def test_wrong_labels_are_refused_in_one_line(label, words):
    model, images = shared("stacks and a vector"), tiny.all_images(tiny.BINARY)[:4]
    calls = [
        lambda: model.elbo(images, label=label),
        lambda: model.log_likelihood(images, label=label),
        lambda: model.encode(images, label=label),
        lambda: model.reconstruct(images, label=label),
        lambda: model.complete(images, keep_rows=1, label=label),
        lambda: model.sample(4, label=label),
        lambda: model.sample_varying("pixels", 4, 2, label=label),
    ]
    for call in calls:
        with pytest.raises(UserError) as caught:
            call()
        assert str(caught.value).startswith(words) and "\n" not in str(caught.value)


def test_data_without_the_labels_that_a_model_needs_is_refused():
    model, images = compiled(), tiny.all_images(tiny.BINARY)
    labels = np.arange(len(images)) % CLASSES
    stream = tf.data.Dataset.from_tensor_slices
    for method in (model.fit, model.evaluate):
        for data, words in (
            ((images,), "label: is missing"),
            ((images, labels + 1), "label=3: give whole numbers 0..2"),
            ((images, np.eye(CLASSES, dtype=int)[labels]), "label of shape (64, 3): there are 64 images"),
            ((stream(images).batch(8),), "images without labels: give (images, labels)"),
            ((stream((images, labels.astype("float32"))).batch(8),), "label of type float32"),
            ((stream({"image": images, "label": labels}).batch(8),), "its images with their labels"),
        ):
            with pytest.raises(UserError) as caught:
                method(*data, verbose=0)
            assert words in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(tf.errors.InvalidArgumentError, match="label: give whole numbers 0..2"):
        model.evaluate(stream((images, labels + 1)).batch(8), verbose=0)
    with pytest.raises(UserError, match="this model has no classes"):
        tiny.shared_model().elbo(images, label=0)


def test_an_export_takes_labels_and_answers_as_the_model_does(tmp_path):
    model = tiny.shared_model(tiny.LEAST, num_classes=CLASSES)
    images, labels = some(model.config, 6)
    labels = labels.astype("int32")
    written = serving.export(model, serving.check_output(str(tmp_path / "export")), {})
    assert all("label" in endpoint["inputs"] for endpoint in written["endpoints"].values())
    loaded = tf.saved_model.load(tmp_path / "export")
    one = tf.constant([2])
    for found, expected in (
        (loaded.sample(tf.constant(6), tf.constant(1), labels)["images"], model.sample(6, 1, label=labels)),
        (loaded.sample(tf.constant(6), tf.constant(1), one)["images"], model.sample(6, 1, label=2)),
        (loaded.reconstruct(images, tf.constant(1), one)["images"], model.reconstruct(images, 1, label=2)),
        (
            loaded.complete(images, tf.constant(1), tf.constant(4), labels)["images"],
            model.complete(images, 1, seed=4, label=labels),
        ),
        (loaded.encode(images, labels)["z1_sample"], model.encode(images, label=labels).sample[0]),
        (loaded.posterior(images, labels)["z1_mean"], model.encode(images, label=labels).mean[0]),
        (
            loaded.log_likelihood(images, tf.constant(3), tf.constant(2), labels)["log_likelihood_nats"],
            model.log_likelihood(images, 3, 2, label=labels),
        ),
        (loaded.serving_default(images[:1], one)["elbo_nats"], model.elbo(images[:1], label=2).elbo),
        (
            loaded.score_given_noise(images, latent_noise(model.config, 6, 0)[0], labels)["elbo_nats"],
            model.elbo(images, label=labels).elbo,
        ),
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    for wrong, words in (
        (tf.constant([3]), "label: give whole numbers 0..2"),
        (labels[:2], "label: give one, or as many"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=words):
            loaded.encode(images, wrong)


def test_the_accuracy_is_that_of_bayes_rule_with_exact_probabilities():
    model, images = shared("stacks without latents"), tiny.all_images(tiny.BINARY)
    labels, prior = np.arange(len(images)) % CLASSES, np.array([0.2, 0.5, 0.3])
    # p(x | y) of every image there is, and p(y | x) = p(x | y) p(y) / p(x).
    likelihood = np.exp([np.float64(model.log_likelihood(images, label=label)) for label in range(CLASSES)])
    joint = likelihood.T * prior
    best = (joint / joint.sum(axis=1, keepdims=True)).argmax(axis=1)
    batches = ((images[start : start + 20], labels[start : start + 20]) for start in range(0, 64, 20))
    found = likelihood_of.evaluate(model, batches, importance_samples=2, log_prior=np.log(prior)).summary()
    assert found["accuracy_bound"] == found["accuracy_importance"] == (best == labels).mean()
    # The images matter, and so does the prior.
    assert len(set(best)) > 1 and (likelihood.argmax(axis=0) != best).any()
    for name in ("nll_bound_marginal_nats", "nll_importance_marginal_nats"):
        assert found[name] == pytest.approx(-np.log(joint.sum(axis=1)).mean(), rel=1e-5)
    assert found["nll_bound_nats"] == pytest.approx(-np.log(likelihood[labels, np.arange(64)]).mean(), rel=1e-5)


def test_the_prior_of_a_class_is_its_share_of_the_training_images():
    np.testing.assert_allclose(np.exp(bayes.log_prior(Classes(("a", "b"), (30, 10)))), [0.75, 0.25])


def test_a_configuration_from_before_there_were_classes_is_of_a_model_without_and_has_its_weights():
    config = dataclasses.replace(tiny.BINARY, prior="flow", latent_channels=(2,))
    before = {name: value for name, value in config.to_dict().items() if name != "num_classes"}
    assert ModelConfig.from_dict(before) == config
    with_classes, plain = (
        {weight.path.partition("/")[2] for weight in tiny.model(config, num_classes=count).weights}
        for count in (CLASSES, 0)
    )
    added = with_classes - plain
    # In the gates, beside the image, and in every coupling of the prior.
    assert plain < with_classes and len(added) == 2 + config.prior_couplings
    assert all(path.endswith("/vectors") for path in added)


@pytest.mark.parametrize("value", [1, -3])
def test_a_number_of_classes_is_0_or_at_least_2(value):
    with pytest.raises(ConfigError, match="num_classes=.*use 2 or more, or 0"):
        ModelConfig(num_classes=value)
