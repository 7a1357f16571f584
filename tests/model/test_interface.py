"""What users call: seeds, wrong input, saving, completion."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny
from models import few

from pixelvae_tf import PixelVAE

pytestmark = pytest.mark.eagerly

IMAGES = tiny.all_images(tiny.BINARY)[5:25]
# Every method with a seed, as a list of arrays.
SEEDED = {
    "elbo": lambda model, seed: [model.elbo(IMAGES, seed=seed).elbo],
    "log_likelihood": lambda model, seed: [model.log_likelihood(IMAGES, 3, seed=seed)],
    "encode": lambda model, seed: list(model.encode(IMAGES, seed=seed).sample),
    "sample": lambda model, seed: [model.sample(20, seed=seed)],
    "reconstruct": lambda model, seed: [model.reconstruct(IMAGES, seed=seed)],
    "complete": lambda model, seed: [model.complete(IMAGES, keep_rows=1, seed=seed)],
}
# Every method that takes images.
TAKING_IMAGES = {
    "elbo": lambda model, images: model.elbo(images),
    "log_likelihood": lambda model, images: model.log_likelihood(images, 2),
    "encode": lambda model, images: model.encode(images),
    "reconstruct": lambda model, images: model.reconstruct(images),
    "complete": lambda model, images: model.complete(images, keep_rows=1),
}
WRONG_IMAGES = {
    "one image without a batch": (IMAGES[0], r"\(2, 3, 1\)"),
    "other sides": (np.zeros((4, 3, 2, 1), "uint8"), "batch, 2, 3, 1"),
    "other colors": (np.zeros((4, 2, 3, 3), "uint8"), "batch, 2, 3, 1"),
    "no image": (IMAGES[:0], "batch, 2, 3, 1"),
    "real numbers": (IMAGES.astype("float32"), "float32.*integers 0..1"),
    "truth values": (IMAGES.astype(bool), "bool.*integers 0..1"),
    "too large": (IMAGES + 1, "1..2.*takes 0..1"),
    "bytes for binary pixels": (255 * IMAGES, "0..255.*takes 0..1"),
    "negative": (IMAGES.astype("int32") - 1, "-1..0.*takes 0..1"),
    "large enough to wrap around": (IMAGES.astype("int64") + 256, "256..257.*takes 0..1"),
    "no array": ("digits.png", "shape"),
}


@pytest.fixture(scope="module")
def model():
    return tiny.shared_model(latent_channels=(2,))


@pytest.mark.parametrize("method", SEEDED)
def test_a_seed_repeats_a_result_bit_for_bit_and_another_seed_gives_another(method, model):
    call = SEEDED[method]
    for first, again, other in zip(call(model, 7), call(model, 7), call(model, 8), strict=True):
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)


@pytest.mark.parametrize("method", ["elbo", "encode", "reconstruct"])
def test_every_example_of_a_batch_has_noise_of_its_own(method, model):
    same = np.repeat(IMAGES[:1], 50, axis=0)
    result = {
        "elbo": lambda: model.elbo(same).reconstruction,
        "encode": lambda: model.encode(same).sample[0],
        "reconstruct": lambda: model.reconstruct(same),
    }[method]()
    assert len(np.unique(result, axis=0)) > 1


@pytest.mark.parametrize("method", SEEDED)
def test_without_graphs_as_one_debugs_the_results_are_the_same(method, model):
    expected = SEEDED[method](model, 7)
    tf.config.run_functions_eagerly(True)
    try:
        found = SEEDED[method](model, 7)
    finally:
        tf.config.run_functions_eagerly(False)
    for own, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_integers_of_every_type_are_the_same_images(dtype, model):
    np.testing.assert_array_equal(model.elbo(IMAGES.astype(dtype)).elbo, model.elbo(IMAGES).elbo)
    np.testing.assert_array_equal(model.elbo(IMAGES.tolist()).elbo, model.elbo(IMAGES).elbo)


@pytest.mark.parametrize("method", TAKING_IMAGES)
@pytest.mark.parametrize("case", WRONG_IMAGES)
def test_wrong_images_are_refused_in_one_line_that_says_what_the_model_takes(case, method, model):
    images, message = WRONG_IMAGES[case]
    with pytest.raises(ValueError, match=message) as error:
        TAKING_IMAGES[method](model, images)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 120


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: model.sample(0), "num_samples=0"),
        (lambda model: model.sample(-3), "num_samples=-3"),
        (lambda model: model.log_likelihood(IMAGES, 0), "importance_samples=0"),
        (lambda model: model.complete(IMAGES, keep_rows=-1), "keep_rows=-1"),
        (lambda model: model.complete(IMAGES, keep_rows=3), "keep_rows=3.*2 rows"),
    ],
)
def test_a_wrong_number_is_refused_by_name(call, message, model):
    with pytest.raises(ValueError, match=message) as error:
        call(model)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("config", [tiny.BINARY, tiny.SMALL_COLOR], ids=["binary", "color"])
def test_samples_and_reconstructions_are_images_that_the_model_takes_back(config):
    model = tiny.shared_model(config)
    for images in (model.sample(9), model.reconstruct(model.sample(9))):
        assert images.dtype == np.uint8
        assert images.shape == (9, *config.image_shape)
        assert set(np.unique(images)) == set(range(config.pixel_levels))


@pytest.mark.parametrize("network", tiny.NETWORKS)
def test_a_completion_keeps_the_given_rows_and_draws_the_others(network):
    model = tiny.shared_model(**tiny.NETWORKS[network])
    images = np.concatenate([IMAGES] * 3)
    for keep_rows in (0, 1, 2):
        completed = model.complete(images, keep_rows=keep_rows, seed=1)
        kept = completed == images
        assert kept[:, :keep_rows].all()
        assert keep_rows == 2 or not kept[:, keep_rows:].all()


def test_a_completion_does_not_peek_at_the_rows_that_it_replaces(model):
    other = IMAGES.copy()
    other[:, 1:] = 1 - other[:, 1:]
    completed = [model.complete(images, keep_rows=1, seed=4) for images in (IMAGES, other)]
    np.testing.assert_array_equal(*completed)


SAVED = {
    "bias, gated, color": ("bias, gated", tiny.SMALL_COLOR),
    "logistics": ("bias, gated", dataclasses.replace(tiny.SMALL_COLOR, output_distribution="logistics")),
    "maps, relu, binary": ("maps, relu", tiny.BINARY),
    "independent pixels": ("independent pixels", tiny.BINARY),
}
# Both precisions of each; one of each precision in every run.
RESTORED = {f"{name}, {dtype}": (name, dtype) for name in SAVED for dtype in ("float32", "mixed_bfloat16")}


@pytest.mark.parametrize("case", few(RESTORED, ["bias, gated, color, float32", "logistics, mixed_bfloat16"]))
def test_saved_and_loaded_weights_give_the_same_bound(case, tmp_path):
    name, dtype = RESTORED[case]
    network, config = SAVED[name]
    model = tiny.shared_model(config, dtype=dtype, **tiny.NETWORKS[network])
    images = tiny.all_images(config)[::7]
    expected = model.elbo(images, seed=2)
    model.save_weights(tmp_path / "model.weights.h5")
    model.save(tmp_path / "model.keras")
    keras.utils.set_random_seed(1)
    fresh = PixelVAE(model.config, dtype=dtype)
    assert not np.array_equal(fresh.elbo(images, seed=2).elbo, expected.elbo)
    fresh.load_weights(tmp_path / "model.weights.h5")
    whole = keras.models.load_model(tmp_path / "model.keras")
    assert whole.config == model.config
    for restored in (fresh, whole):
        assert restored.dtype_policy.name == dtype
        found = restored.elbo(images, seed=2)
        np.testing.assert_array_equal(found.elbo, expected.elbo)
        np.testing.assert_array_equal(found.kl[0], expected.kl[0])


def test_bfloat16_is_near_float32_and_its_results_are_float32():
    exact = tiny.shared_model()
    rounded = PixelVAE(exact.config, dtype="mixed_bfloat16")
    rounded.set_weights(exact.get_weights())
    assert all(weight.dtype == "float32" for weight in rounded.weights)
    found, expected = rounded.elbo(IMAGES).elbo, exact.elbo(IMAGES).elbo
    assert found.dtype == np.float32
    assert not np.array_equal(found, expected)
    np.testing.assert_allclose(found, expected, rtol=0.05)
