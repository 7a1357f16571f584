"""The units of masked layers against NumPy, and their gradients against automatic ones."""

import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from pixelvae_tf.layers.units import apply_unit, parts_of

pytestmark = pytest.mark.as_in_production
BATCH, HEIGHT, WIDTH, CHANNELS = 4, 20, 25, 3
# One bias for all examples, one for each (from a latent vector), one for each position (from maps).
BIASES = {"learned": (1, 1, 1), "of a vector": (BATCH, 1, 1), "of maps": (BATCH, HEIGHT, WIDTH)}


def inputs(bias: str, channels: int) -> tuple[np.ndarray, np.ndarray]:
    maps = np.random.normal(scale=3.0, size=(BATCH, HEIGHT, WIDTH, channels))
    return maps.astype("float32"), np.random.normal(size=(*BIASES[bias], channels)).astype("float32")


@pytest.mark.parametrize("bias", BIASES)
def test_the_gated_unit_is_the_tanh_of_one_half_times_the_sigmoid_of_the_other(bias):
    maps, bias = inputs(bias, 2 * CHANNELS)
    signal, gate = np.split(maps.astype("float64") + bias, 2, axis=-1)
    expected = np.tanh(signal) * scipy.special.expit(gate)
    np.testing.assert_allclose(apply_unit("gated", bias, maps), expected, rtol=1e-4, atol=1e-6)
    assert parts_of("gated") == 2


@pytest.mark.parametrize("bias", BIASES)
def test_the_ungated_unit_is_a_relu(bias):
    maps, bias = inputs(bias, CHANNELS)
    np.testing.assert_allclose(apply_unit("relu", bias, maps), np.maximum(maps + bias, 0.0), rtol=1e-6)
    assert parts_of("relu") == 1


def gradients(unit, bias, maps, upstream) -> list[np.ndarray]:
    with tf.GradientTape() as tape:
        tape.watch([bias, maps])
        total = tf.reduce_sum(tf.cast(unit(bias, *maps), "float32") * upstream)
    return [tf.cast(gradient, "float32").numpy() for gradient in tf.nest.flatten(tape.gradient(total, [bias, maps]))]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.02)])
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("summands", [1, 2])
def test_the_gated_units_own_gradient_is_the_automatic_one(summands, bias, dtype, tolerance):
    maps, bias = (tf.cast(value, dtype) for value in inputs(bias, 2 * CHANNELS))
    parts = [maps, *(tf.cast(inputs("learned", 2 * CHANNELS)[0], dtype) for _ in range(summands - 1))]
    upstream = np.random.uniform(size=(BATCH, HEIGHT, WIDTH, CHANNELS)).astype("float32")

    def plain(bias, *maps):
        signal, gate = tf.split(tf.add_n(maps) + bias, 2, axis=-1)
        return tf.tanh(signal) * tf.sigmoid(gate)

    exact = tf.nest.map_structure(lambda value: tf.cast(value, "float32"), (bias, parts))
    found = gradients(lambda bias, *maps: apply_unit("gated", bias, *maps), bias, parts, upstream)
    assert len(found) == 1 + summands
    for ours, expected in zip(found, gradients(plain, *exact, upstream), strict=True):
        assert ours.shape == expected.shape
        np.testing.assert_allclose(ours, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


def test_a_bias_that_all_images_share_has_its_gradient_after_graphs_with_a_bias_for_each():
    # A graph for any number of biases must not serve where there is a single one.
    maps, bias = (tf.constant(value) for value in inputs("learned", 2 * CHANNELS))
    upstream = np.ones((BATCH, HEIGHT, WIDTH, CHANNELS), "float32")

    def of_any_size(biases, maps):
        with tf.GradientTape() as tape:
            tape.watch(biases)
            total = tf.reduce_sum(apply_unit("gated", biases, maps))
        return tape.gradient(total, biases)

    specs = [tf.TensorSpec((None, *value.shape[1:])) for value in (bias, maps)]
    tf.function(of_any_size, input_signature=specs)(tf.repeat(bias, BATCH, axis=0), maps)
    found = gradients(lambda bias, *maps: apply_unit("gated", bias, *maps), bias, [maps], upstream)
    assert found[0].shape == bias.shape
    np.testing.assert_allclose(
        found[0], tf.reduce_sum(of_any_size(tf.repeat(bias, BATCH, axis=0), maps), 0)[None], rtol=1e-4
    )
