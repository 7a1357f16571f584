"""Masked blocks whose maps are computed anew for the gradient: the same gradients, in less memory."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tiny
from models import THREE_LEVELS, VARIANTS, few, some_images

from pixelvae_tf.benchmarks import graph_cost, model_size
from pixelvae_tf.config import RunConfig, TrainConfig
from pixelvae_tf.sampling.noise import latent_noise
from pixelvae_tf.training.run import build_model

# Both kinds of masked blocks, over pixels and over maps of latents, and batch normalization beside them.
ONE_BLOCK = {"latent_pixelcnn_layers": 1}
CONFIGS = {
    "stacks": dataclasses.replace(THREE_LEVELS, **ONE_BLOCK, **VARIANTS["two levels of maps"]),
    "diagonal_bilstm": dataclasses.replace(tiny.BINARY, masked_blocks="diagonal_bilstm"),
    "residual": dataclasses.replace(
        THREE_LEVELS, masked_blocks="residual", **ONE_BLOCK, **VARIANTS["two levels of maps"]
    ),
}


def build(config, recompute: bool, **settings):
    return build_model(
        RunConfig(
            config, training=TrainConfig(recompute_blocks=recompute, **{"mixed_precision": "float32", **settings})
        )
    )


def gradients(model, images) -> list[np.ndarray]:
    noise = latent_noise(model.config, len(images), 0)

    @tf.function(autograph=False)
    def of_bound(images):
        with tf.GradientTape() as tape:
            bound = tf.reduce_mean(model(images, noise=noise, training=True).elbo)
        return tape.gradient(bound, model.trainable_variables)

    return [gradient.numpy() for gradient in of_bound(images)]


@pytest.mark.parametrize("name", few(CONFIGS, ["residual"]))
def test_gradients_and_moving_statistics_are_the_same(name):
    images = some_images(CONFIGS[name], 6)
    stored, recomputed = (build(CONFIGS[name], recompute) for recompute in (False, True))
    found, expected = gradients(recomputed, images), gradients(stored, images)
    assert any(np.abs(gradient).max() > 0.1 for gradient in expected)
    for own, gradient in zip(found, expected, strict=True):
        np.testing.assert_allclose(own, gradient, rtol=1e-4, atol=1e-5)
    for own, variable in zip(recomputed.non_trainable_variables, stored.non_trainable_variables, strict=True):
        np.testing.assert_allclose(own, variable, rtol=1e-5)


@pytest.mark.as_in_production
def test_a_deep_network_takes_less_memory_for_more_arithmetic():
    deep = dataclasses.replace(tiny.BINARY, image_shape=(8, 8, 1), pixelcnn_layers=6)
    graphs = [model_size.step_graph(build(deep, recompute), 64) for recompute in (False, True)]
    stored, recomputed = map(graph_cost.peak_bytes, graphs)
    assert recomputed < 0.6 * stored
    assert graph_cost.flop(graphs[1]) > 1.2 * graph_cost.flop(graphs[0])


def test_it_computes_in_bfloat16_too():
    images = some_images(tiny.LEAST, 6)
    models = [build(tiny.LEAST, recompute, mixed_precision="bfloat16") for recompute in (False, True)]
    for own, gradient in zip(*(gradients(model, images) for model in models), strict=True):
        assert own.dtype == np.float32
        np.testing.assert_allclose(own, gradient, rtol=0.05, atol=0.05 * np.abs(gradient).max() + 1e-3)


def test_a_run_may_change_its_mind():
    run = RunConfig()
    assert run.difference(dataclasses.replace(run, training=TrainConfig(recompute_blocks=True))) is None
