"""Exports of every kind of network, without XLA, and of models of Python: the numbers of the model."""

import dataclasses
import pathlib

import keras
import models
import numpy as np
import pytest
import tensorflow as tf
import tiny
from models import NARROW, few, in_small
from tensorflow.core.protobuf import saved_model_pb2

import pixelvae_tf
from pixelvae_tf import ModelConfig
from pixelvae_tf.errors import UserError
from pixelvae_tf.model import serving

IMAGES = models.some_images(tiny.BINARY, 40)


def kind(config: ModelConfig) -> tuple:
    """What the graphs of an export are made of."""
    masked = config.pixelcnn_layers > 0, config.latent_pixelcnn_layers > 0
    if not config.num_levels:
        return (config.output_distribution,)
    return config.network, config.conditioning, masked, config.output_distribution


# One of each kind of network among the flag files, and one that is in none.
NETWORKS = {name: in_small(config) for name, config in {kind(c): (name, c) for c, name in NARROW.items()}.values()}
NETWORKS["two levels of maps, residual blocks"] = dataclasses.replace(
    models.THREE_LEVELS,
    masked_blocks="residual",
    pixelcnn_layers=1,
    latent_pixelcnn_layers=1,
    **models.VARIANTS["two levels of maps"],
)
# Without latents an export has three endpoints fewer.
LEAST = dataclasses.replace(tiny.LEAST, latent_channels=())


def export_and_load(model, folder: pathlib.Path, **options):
    """The loaded SavedModel, and its record."""
    record = serving.export(model, folder, {"step": 1}, **options)
    return tf.saved_model.load(str(folder)), record


def assert_same(loaded, model, rtol: float = 0.0) -> None:
    """Samples are those of the model bit for bit, its other numbers up to `rtol`."""
    images = model.sample(3, seed=1)
    np.testing.assert_array_equal(loaded.sample(3, 1)["images"], images)
    found = loaded.log_likelihood(images, 2, 3)["log_likelihood_nats"]
    np.testing.assert_allclose(found, model.log_likelihood(images, 2, seed=3), rtol=rtol)
    scores, terms = loaded.serving_default(images[:1]), model.elbo(images[:1])
    np.testing.assert_allclose(scores["elbo_nats"], terms.elbo, rtol=rtol)
    for level in range(model.config.num_levels):
        np.testing.assert_allclose(scores[f"kl_z{level + 1}_nats"], terms.kl[level], rtol=rtol)
        latents = loaded.encode(images)[f"z{level + 1}_mean"], model.encode(images).mean[level]
        np.testing.assert_allclose(*latents, rtol=rtol)
    if model.config.num_levels > 1:
        *below, top = model.encode(images).mean
        decoded = model.decode([None] * len(below) + [top], seed=2, same_noise=True)
        np.testing.assert_array_equal(loaded.decode_top(top, True, 2)["images"], decoded)


@pytest.mark.parametrize("name", few(NETWORKS, ["two levels of maps, residual blocks", "compare32_gated_pixelcnn"]))
def test_every_kind_of_network_exports_with_its_numbers(name, tmp_path):
    model = tiny.model(NETWORKS[name], gain=1.0)
    loaded, record = export_and_load(model, tmp_path / "export")
    assert_same(loaded, model)
    has_latents = model.config.num_levels > 0
    assert hasattr(loaded, "encode") == ("encode" in record["endpoints"]) == has_latents
    assert list(record["left_out"]) == ([] if has_latents else ["encode", "posterior", "decode"])


@pytest.mark.as_in_production
def test_without_xla_nothing_asks_for_compilation_and_the_images_are_the_same(tmp_path):
    model = tiny.model(LEAST)
    before = model.sample(3, seed=1)
    loaded, record = export_and_load(model, tmp_path / "export", xla=False)
    text = (tmp_path / "export" / "saved_model.pb").read_bytes()
    graph = saved_model_pb2.SavedModel.FromString(text).meta_graphs[0].graph_def
    assert len(graph.library.function) > 10
    assert not any(function.attr["_XlaMustCompile"].b for function in graph.library.function)
    assert not record["xla"]
    assert_same(loaded, model, rtol=1e-5)
    # The model itself goes on as before.
    assert tf.config.functions_run_eagerly() is False
    np.testing.assert_array_equal(model.sample(3, seed=1), before)


def test_a_model_of_python_exports_what_its_methods_give_with_and_without_its_average(tmp_path):
    model = tiny.model(LEAST)
    model.compile(keras.optimizers.SGD(0.1), ema_decay=0.5)
    model.fit(IMAGES, batch_size=20, verbose=0)
    written = pixelvae_tf.export_model(model, tmp_path / "raw", record={"dataset": "mine"})
    assert (written["weights"], written["training_steps"], written["dataset"]) == ("raw", 2, "mine")
    assert_same(tf.saved_model.load(str(tmp_path / "raw")), model)
    with model.evaluation_weights():
        averaged = model.log_likelihood(IMAGES, 2, seed=3)
        assert pixelvae_tf.export_model(model, str(tmp_path / "averaged"))["weights"] == "averaged"
    loaded = tf.saved_model.load(str(tmp_path / "averaged"))
    np.testing.assert_array_equal(loaded.log_likelihood(IMAGES, 2, 3)["log_likelihood_nats"], averaged)
    assert not np.array_equal(averaged, model.log_likelihood(IMAGES, 2, seed=3))
    for given, message in (
        ((model, ""), "folder is empty"),
        ((model, tmp_path), "folder=.*is not empty and holds no export"),
        ((keras.Model(), tmp_path / "new"), "model of type.*give a pixelvae_tf.PixelVAE"),
    ):
        with pytest.raises(UserError, match=message):
            pixelvae_tf.export_model(*given)
    with pytest.raises(UserError, match="record: give JSON values"):
        pixelvae_tf.export_model(model, tmp_path / "new", record={"images": IMAGES})
    assert not (tmp_path / "new").exists()
