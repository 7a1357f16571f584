"""What `compile`, `fit` and `load_weights` accept is honoured or refused in one line."""

import threading
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

from pixelvae_tf import PixelVAE
from pixelvae_tf.errors import UserError
from pixelvae_tf.model import replicas

pytestmark = pytest.mark.eagerly

IMAGES = tiny.all_images(tiny.BINARY)
FLOATS = IMAGES.astype("float32")


@pytest.fixture(scope="module")
def compiled() -> PixelVAE:
    model = tiny.model(tiny.LEAST)
    model.compile(keras.optimizers.SGD(0.0))
    return model


def weights_of(model) -> np.ndarray:
    return np.concatenate([np.ravel(variable) for variable in model.trainable_variables]).astype("float64")


def dataset(images, *others) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((images, *others) if others else images)


@pytest.mark.parametrize(
    ("data", "words"),
    {
        "floats": (FLOATS, "images of type float32"),
        "booleans": (IMAGES.astype(bool), "images of type bool"),
        "too bright": (IMAGES * 255, "pixels 0..255"),
        "another size": (np.zeros((4, 3, 3, 1), "uint8"), "(batch, 2, 3, 1)"),
        "one image": (IMAGES[0], "put images into batches"),
        "no image": (IMAGES[:0], "give one or more"),
        "a dataset of floats": (dataset(FLOATS).batch(8), "images of type float32"),
        "a dataset without batches": (dataset(IMAGES), "put images into batches"),
        "dictionaries": (
            dataset(IMAGES).batch(8).map(lambda images: {"image": images, "label": 0}),
            "'image', 'label'",
        ),
    }.values(),
)
@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_images_that_elbo_refuses_are_refused_before_the_first_step(compiled, method, data, words):
    with pytest.raises(UserError) as caught:
        getattr(compiled, method)(data, verbose=0)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_pixels_of_a_stream_are_checked_in_the_graph(compiled, method):
    with pytest.raises(tf.errors.InvalidArgumentError, match="this model takes pixels 0..1"):
        getattr(compiled, method)(dataset(IMAGES + 1).batch(8), verbose=0)


def stepped(data, **arguments) -> tuple[np.ndarray, dict]:
    """The change of all weights in one step, without any noise, and what it reports."""
    model = tiny.model(tiny.LEAST, latent_channels=(), gain=1.5)
    model.compile(keras.optimizers.SGD(1.0))
    before = weights_of(model)
    history = model.fit(*data, epochs=1, shuffle=False, verbose=0, **arguments).history
    return before - weights_of(model), {name: values[0] for name, values in history.items()}


def test_weights_of_examples_weigh_the_loss_and_every_figure():
    halves = np.repeat([1.0, 0.0], 16).astype("float32")
    step, logs = stepped((IMAGES[:16],), batch_size=16)
    for data, arguments in (
        ((IMAGES[:32],), {"sample_weight": halves, "batch_size": 32}),
        ((IMAGES[:32], halves > 0), {"class_weight": {0: 0.0, 1: 2.0}, "batch_size": 32}),
        ((dataset(IMAGES[:32], halves, halves).batch(32),), {}),
    ):
        found, found_logs = stepped(data, **arguments)
        np.testing.assert_allclose(found, step, rtol=1e-4, atol=1e-6)
        assert {name: found_logs[name] for name in logs} == pytest.approx(logs, rel=1e-4)
    assert not stepped((IMAGES[:32],), sample_weight=0 * halves, batch_size=32)[0].any()


def test_weights_of_examples_weigh_the_validation_bound():
    model = tiny.model(tiny.LEAST, latent_channels=(), gain=1.5)
    model.compile()
    weights = np.linspace(0.0, 1.0, len(IMAGES)).astype("float32")
    found = model.evaluate(IMAGES, sample_weight=weights, batch_size=9, verbose=0, return_dict=True)
    assert found["bound"] == pytest.approx(np.average(-model.elbo(IMAGES).elbo, weights=weights), rel=1e-5)
    assert found["loss"] == found["bound"]


@pytest.mark.parametrize("clip", [{}, {"clip_norm": 1.0, "clip_value": 0.1}])
def test_a_loss_scale_changes_no_step(clip):
    found = {}
    for factor in (None, 128.0):
        model = tiny.model(tiny.LEAST, latent_channels=(), gain=1.5)
        model.compile(keras.optimizers.SGD(1.0, loss_scale_factor=factor), **clip)
        before = weights_of(model)
        logs = model.fit(IMAGES, batch_size=64, verbose=0).history
        found[factor] = before - weights_of(model), logs["gradient_norm"][0], logs["loss"][0]
    for scaled, plain in zip(found[128.0], found[None], strict=True):
        np.testing.assert_allclose(scaled, plain, rtol=1e-3, atol=1e-6)


def test_float16_learns_as_float32_does():
    found = {}
    for dtype in ("float32", "mixed_float16"):
        model = tiny.model(tiny.LEAST, latent_channels=(), gain=1.0, dtype=dtype)
        # From a scale at which the first steps do not overflow.
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01), initial_scale=256.0)
        model.compile(optimizer if dtype == "mixed_float16" else keras.optimizers.SGD(0.01), clip_value=1.0)
        before = weights_of(model)
        model.fit(IMAGES, batch_size=64, epochs=3, verbose=0)
        found[dtype] = weights_of(model) - before
    error = np.linalg.norm(found["mixed_float16"] - found["float32"])
    assert error < 0.05 * np.linalg.norm(found["float32"])


def test_steps_that_overflow_are_skipped_and_lower_the_loss_scale():
    model = tiny.model(tiny.LEAST, latent_channels=(), dtype="mixed_float16")
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=1e30), clip_value=0.1)
    before = weights_of(model)
    model.fit(IMAGES, batch_size=64, verbose=0)
    np.testing.assert_array_equal(weights_of(model), before)
    assert float(model.optimizer.dynamic_scale.numpy()) == pytest.approx(5e29)


def averaged() -> PixelVAE:
    model = tiny.model(tiny.LEAST, seed=1)
    model.compile(keras.optimizers.SGD(0.1), ema_decay=0.9)
    return model


@pytest.fixture(scope="module")
def trained() -> PixelVAE:
    model = averaged()
    model.fit(IMAGES, batch_size=16, epochs=2, verbose=0)
    return model


def flat(arrays) -> np.ndarray:
    return np.concatenate([np.ravel(array) for array in arrays])


@pytest.mark.parametrize("first", ["compile", "load_weights"])
def test_the_average_of_the_weights_is_saved_and_restored_whatever_the_order(trained, tmp_path, first):
    trained.save_weights(tmp_path / "own.weights.h5")
    model = averaged() if first == "compile" else tiny.model(tiny.LEAST, seed=2)
    model.load_weights(tmp_path / "own.weights.h5")
    if first == "load_weights":
        model.compile(keras.optimizers.SGD(0.1), ema_decay=0.9)
    np.testing.assert_array_equal(flat(model.average.values()), flat(trained.average.values()))
    assert not np.array_equal(flat(model.average.values()), weights_of(model))


def test_an_average_of_a_file_without_one_begins_with_its_weights(trained, tmp_path):
    """As of files from before it was saved, and of those written while the average is in the place of the weights."""
    with trained.evaluation_weights():
        trained.save_weights(tmp_path / "best.weights.h5")
        expected = weights_of(trained)
    model = averaged()
    model.load_weights(tmp_path / "best.weights.h5")
    np.testing.assert_array_equal(weights_of(model), expected)
    np.testing.assert_array_equal(flat(model.average.values()), expected.astype("float32"))


def test_a_saved_model_keeps_the_average_for_a_later_training(trained, tmp_path):
    trained.save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras")
    model.compile(keras.optimizers.SGD(0.1), ema_decay=0.9)
    np.testing.assert_array_equal(flat(model.average.values()), flat(trained.average.values()))


def test_an_average_that_begins_after_more_training_begins_with_the_present_weights(trained, tmp_path):
    trained.save_weights(tmp_path / "own.weights.h5")
    model = averaged()
    model.load_weights(tmp_path / "own.weights.h5")
    model.fit(IMAGES, batch_size=64, verbose=0)
    model.compile(keras.optimizers.SGD(0.1), ema_decay=0.9)
    np.testing.assert_array_equal(flat(model.average.values()), weights_of(model).astype("float32"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kl_warmup_steps": (-5,)}, "kl_warmup_steps=(-5,)"),
        ({"ema_decay": 1.5}, "ema_decay=1.5"),
        ({"clip_value": -1.0}, "clip_value=-1.0"),
        ({"prior_scale_floor_steps": -5}, "prior_scale_floor_steps=-5"),
        ({"seed": 2**40}, "seed="),
        ({"seed": None}, "seed=None"),
        ({"loss": "mse"}, "loss: "),
        ({"metrics": ["mae"]}, "metrics: "),
    ],
)
def test_compile_refuses_what_the_flags_refuse_and_a_loss_beside_the_bound(arguments, words):
    with pytest.raises(UserError) as caught:
        tiny.model(tiny.LEAST, latent_channels=()).compile("sgd", **arguments)
    assert str(caught.value).startswith(words)


def test_early_stopping_as_keras_gives_it_watches_the_bound():
    model = tiny.model(tiny.LEAST, latent_channels=())
    model.compile(keras.optimizers.SGD(0.0))
    stop = keras.callbacks.EarlyStopping(patience=1)
    history = model.fit(IMAGES, epochs=5, validation_data=(IMAGES,), verbose=0, callbacks=[stop]).history
    assert len(history["val_loss"]) == 2
    assert history["val_loss"] == history["val_bound"]


@pytest.mark.parametrize("seed", [-1, 2**31, 2**32 - 1, 3.7, None, "1", True, (1, 2)])
def test_what_is_no_seed_is_refused_by_every_method(compiled, seed):
    for call in (
        lambda: compiled.sample(1, seed=seed),
        lambda: compiled.elbo(IMAGES[:1], seed=seed),
        lambda: compiled.complete(IMAGES[:1], keep_rows=1, seed=seed),
        lambda: compiled.log_likelihood(IMAGES[:1], 1, seed=seed),
    ):
        with pytest.raises(UserError, match="^seed="):
            call()


def test_a_seed_may_be_a_number_of_numpy_or_tensorflow(compiled):
    expected = compiled.elbo(IMAGES, seed=7).elbo
    for seed in (np.int64(7), tf.constant(7)):
        np.testing.assert_array_equal(compiled.elbo(IMAGES, seed=seed).elbo, expected)


@pytest.mark.eagerly(False)
def test_methods_of_arrays_name_the_graphs_where_they_cannot_be_used_and_those_can(compiled):
    for call in (lambda images: compiled.elbo(images).elbo, lambda images: compiled.sample(2)):
        with pytest.raises(UserError, match="model.graphs"):
            tf.function(call, autograph=False)(IMAGES[:4])
    mapped = dataset(IMAGES).batch(16).map(lambda images: compiled.graphs.elbo(images, 0).elbo)
    np.testing.assert_allclose(next(iter(mapped)), compiled.elbo(IMAGES[:16]).elbo, rtol=1e-5)


def test_keras_own_export_names_that_of_the_package(compiled, tmp_path):
    with pytest.raises(UserError, match="pixelvae_tf.export"):
        compiled.export(tmp_path / "export")


def test_a_model_is_the_same_whatever_keras_global_settings():
    expected = tiny.shared_model()
    weights = expected.get_weights()
    keras.config.set_floatx("float16")
    keras.config.set_image_data_format("channels_first")
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = PixelVAE(expected.config)
        model.set_weights(weights)
        model.compile(keras.optimizers.SGD(1e-3))
        copies = np.concatenate([IMAGES] * 40)
        bound = model.evaluate(copies, batch_size=256, verbose=0, return_dict=True)["bound"]
        model.fit(IMAGES, verbose=0)
        model.set_weights(weights)
        found, images = model.elbo(IMAGES).elbo, model.sample(5, seed=1)
    finally:
        keras.config.set_dtype_policy("float32")
        keras.config.set_floatx("float32")
        keras.config.set_image_data_format("channels_last")
    assert model.dtype_policy.name == "float32"
    np.testing.assert_array_equal(found, expected.elbo(IMAGES).elbo)
    np.testing.assert_array_equal(images, expected.sample(5, seed=1))
    assert bound == pytest.approx(-expected.elbo(copies).elbo.mean(), rel=1e-2)


@pytest.mark.parametrize(
    ("setting", "optimizer"),
    [
        ({"steps_per_execution": 4}, {}),
        ({"run_eagerly": True}, {}),
        ({"jit_compile": True}, {}),
        ({"compile_step": True}, {}),
        ({}, {"gradient_accumulation_steps": 2}),
        ({}, {"clipnorm": 1.0}),
    ],
)
def test_several_replicas_refuse_what_their_training_function_does_not_see(setting, optimizer):
    model = types.SimpleNamespace(
        **{"steps_per_execution": 1, "run_eagerly": False, "jit_compile": False, "compile_step": False} | setting,
        optimizer=keras.optimizers.SGD(**optimizer),
    )
    with pytest.raises(UserError, match=next(iter({**setting, **optimizer}))):
        replicas.check_compiled(model)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_a_policy_whose_weights_are_not_float32_is_refused(dtype):
    with pytest.raises(UserError, match=f"dtype='{dtype}'"):
        PixelVAE(tiny.BINARY, dtype=dtype)


def test_signals_are_left_alone_outside_the_main_thread():
    from pixelvae_tf.training.callbacks import StopOnSignal

    problems = []

    def train():
        try:
            callback = StopOnSignal()
            callback.on_train_begin()
            callback.on_train_end()
        except Exception as error:
            problems.append(error)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert not problems
