"""XLA compiles whole training steps: the same training, and every check before it."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny
from models import THREE_LEVELS, VARIANTS, few, some_images

from pixelvae_tf.config import RunConfig, TrainConfig
from pixelvae_tf.errors import UserError
from pixelvae_tf.training.run import build_model

CLASSES = dataclasses.replace(tiny.LEAST, num_classes=3)
# A learned prior; batch normalization and several levels; loops over diagonals.
CONFIGS = {
    "a flow": dataclasses.replace(CLASSES, latent_channels=(2,), prior="flow"),
    "three levels": dataclasses.replace(THREE_LEVELS, latent_pixelcnn_layers=1, **VARIANTS["two levels of maps"]),
    "diagonal_bilstm": dataclasses.replace(tiny.BINARY, masked_blocks="diagonal_bilstm"),
}
SETTINGS = {"mixed_precision": "float32", "optimizer": "soap", "free_bits": 0.5, "dropout": 0.25, "ema_decay": 0.9}


def compiled(config, **settings):
    return build_model(RunConfig(config, training=TrainConfig(**{**SETTINGS, **settings})))


def labelled(config, count=6):
    images = some_images(config, count)
    return (images, np.arange(count, dtype="int32") % config.num_classes) if config.num_classes else images


def trained(config, compile_step: bool, **settings):
    dropout = 0.0 if config.masked_blocks == "diagonal_bilstm" else 0.25
    settings = {"compile_step": compile_step, "dropout": dropout, **settings}
    model, data = compiled(config, **settings), labelled(config)
    step = tf.function(model.train_step, autograph=False)
    logs = [step(data if isinstance(data, tuple) else (data,)) for _ in range(3)]
    return model, [{name: float(value) for name, value in each.items()} for each in logs]


@pytest.mark.parametrize("name", few(CONFIGS, []))
def test_steps_are_the_same(name):
    # In directions without gradients so far SOAP's bases depend on rounding.
    compare_steps(CONFIGS[name], optimizer="adam")


@pytest.mark.parametrize("optimizer", few(["soap", "adam", "rmsprop"], ["soap"]))
def test_steps_are_the_same_with_every_optimizer(optimizer):
    # XLA compiles SOAP's operations for each array of weights, so that it has fewer of them.
    config = dataclasses.replace(tiny.LEAST, latent_channels=()) if optimizer == "soap" else CLASSES
    compare_steps(config, optimizer=optimizer)


def compare_steps(config, **settings):
    (model, logs), (plain, expected) = (trained(config, whole, **settings) for whole in (True, False))
    for own, of_plain in zip(logs, expected, strict=True):
        assert own == pytest.approx(of_plain, rel=2e-3)
    for own, variable in zip(model.non_trainable_variables, plain.non_trainable_variables, strict=True):
        np.testing.assert_allclose(own, variable, rtol=1e-3, atol=1e-5)


def test_xla_compiles_all_but_the_factorizations():
    model = compiled(tiny.LEAST, compile_step=True)
    step = tf.function(model.train_step, autograph=False).get_concrete_function((labelled(tiny.LEAST),))
    graph = step.graph.as_graph_def()
    of_xla = {each.signature.name for each in graph.library.function if each.attr["_XlaMustCompile"].b}
    compiled_parts = [node for node in graph.node if "f" in node.attr and node.attr["f"].func.name in of_xla]
    # The gradients, the statistics and the step of SOAP, the averaged weights.
    assert len(compiled_parts) == 4
    factorizing = {
        each.signature.name
        for each in graph.library.function
        if any(node.op in ("Qr", "SelfAdjointEigV2") for node in each.node_def)
    }
    assert factorizing and not factorizing & of_xla


@pytest.mark.parametrize("name", few(["images", "labels"], ["images"]))
def test_checks_come_before_xla_which_leaves_them_out(name):
    config = dataclasses.replace(tiny.LEAST, num_classes=3)
    model, (images, labels) = compiled(config, compile_step=True), labelled(config)
    wrong = {"images": (images + 2, labels), "labels": (images, labels + 3)}[name]
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"{name[:-1]}.*: this model takes|label: give"):
        tf.function(model.train_step, autograph=False)(wrong)


def test_keras_s_interface_has_it_too():
    model = tiny.model(tiny.LEAST, latent_channels=())
    model.compile(keras.optimizers.SGD(1e-3), compile_step=True)
    history = model.fit(some_images(tiny.LEAST, 8), batch_size=4, verbose=0)
    assert model.compile_step and np.isfinite(history.history["loss"]).all()
    with pytest.raises(UserError, match="compile_step"):
        model.compile(keras.optimizers.Adam(1e-3), compile_step="yes")
