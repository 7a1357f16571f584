"""Weight normalization against its definition, w = gain * v / |v| for each output unit."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pixelvae_tf.layers.masked_conv import MaskedConv2D
from pixelvae_tf.layers.weight_norm import Conv2D, Conv2DTranspose, Dense

IMAGES = np.random.default_rng(0).normal(size=(2, 5, 6, 3)).astype("float32")
# How to make the layer, and the axis of its kernel that counts the outputs.
LAYERS = {
    "Dense": (lambda **settings: Dense(4, **settings), -1),
    "Conv2D": (lambda **settings: Conv2D(4, 3, strides=2, padding="same", **settings), -1),
    "Conv2DTranspose": (lambda **settings: Conv2DTranspose(4, 3, strides=2, padding="same", **settings), -2),
    "MaskedConv2D": (lambda **settings: MaskedConv2D(6, 3, "B", colors=3, **settings), -1),
}


def other_axes(layer, output_axis) -> tuple[int, ...]:
    rank = len(layer.kernel.shape)
    return tuple(axis for axis in range(rank) if axis != output_axis % rank)


def visible(layer) -> np.ndarray:
    """The kernel without what a mask hides."""
    return layer.kernel.numpy() * getattr(layer, "mask", 1.0)


def randomized(make, **settings):
    """A built layer with every weight drawn anew, so that the gain is not the kernel's norm."""
    layer = make(**settings)
    layer.build(IMAGES.shape)
    generator = np.random.default_rng(1)
    layer.set_weights([generator.normal(size=weight.shape) for weight in layer.weights])
    return layer


@pytest.mark.parametrize(("make", "output_axis"), LAYERS.values(), ids=LAYERS)
def test_it_leaves_the_function_of_a_fresh_layer_as_it_is(make, output_axis):
    layer, plain = make(), make(weight_normalization=False)
    outputs = layer(IMAGES)
    plain.build(IMAGES.shape)
    plain.kernel.assign(layer.kernel)
    np.testing.assert_allclose(outputs, plain(IMAGES), rtol=1e-4, atol=1e-5)
    assert plain.gain is None and len(plain.weights) == len(layer.weights) - 1


@pytest.mark.parametrize(("make", "output_axis"), LAYERS.values(), ids=LAYERS)
def test_the_weights_in_use_are_the_kernels_direction_times_the_gain(make, output_axis):
    layer = randomized(make)
    axes, kernel = other_axes(layer, output_axis), visible(layer)
    norm = np.sqrt((kernel**2).sum(axis=axes, keepdims=True))
    expected = kernel / norm * layer.gain.numpy().reshape(norm.shape)
    plain = make(weight_normalization=False)
    plain.build(IMAGES.shape)
    plain.kernel.assign(expected)
    plain.bias.assign(layer.bias)
    np.testing.assert_allclose(layer(IMAGES), plain(IMAGES), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("make", "output_axis"), LAYERS.values(), ids=LAYERS)
def test_the_length_of_the_kernel_does_not_matter_and_the_gain_scales_its_unit(make, output_axis):
    layer = randomized(make)
    layer.bias.assign(tf.zeros_like(layer.bias))
    before = layer(IMAGES).numpy()
    layer.kernel.assign(7.0 * layer.kernel)
    np.testing.assert_allclose(layer(IMAGES), before, rtol=1e-4, atol=1e-4)
    factors = np.arange(1, before.shape[-1] + 1, dtype="float32")
    layer.gain.assign(layer.gain * factors)
    np.testing.assert_allclose(layer(IMAGES), before * factors, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("make", "output_axis"), LAYERS.values(), ids=LAYERS)
def test_its_gradients_are_those_of_salimans_and_kingma(make, output_axis):
    """Equation 3 of the source: dg = dw . v / |v| and dv = g / |v| (dw - dg v / |v|)."""
    layer = randomized(make)
    coefficients = np.random.default_rng(2).normal(size=layer(IMAGES).shape).astype("float32")

    def gradients(of, variables):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(of(IMAGES) * coefficients)
        return [gradient.numpy() for gradient in tape.gradient(loss, variables)]

    axes, kernel = other_axes(layer, output_axis), visible(layer)
    norm = np.sqrt((kernel**2).sum(axis=axes, keepdims=True))
    gain = layer.gain.numpy().reshape(norm.shape)
    plain = make(weight_normalization=False)
    plain.build(IMAGES.shape)
    plain.kernel.assign(gain * kernel / norm)
    (weight_gradient,) = gradients(plain, [plain.kernel])

    expected_gain = (weight_gradient * kernel / norm).sum(axis=axes, keepdims=True)
    expected_kernel = gain / norm * (weight_gradient - expected_gain * kernel / norm)
    found_kernel, found_gain = gradients(layer, [layer.kernel, layer.gain])
    np.testing.assert_allclose(found_gain, expected_gain.ravel(), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found_kernel, expected_kernel, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["keras", "weights.h5"])
@pytest.mark.parametrize(("make", "output_axis"), LAYERS.values(), ids=LAYERS)
def test_saving_and_loading_keep_the_gain(make, output_axis, kind, tmp_path):
    model = keras.Sequential([keras.Input(IMAGES.shape[1:]), randomized(make)])
    path = tmp_path / f"model.{kind}"
    if kind == "keras":
        model.save(path)
        restored = keras.models.load_model(path)
    else:
        model.save_weights(path)
        restored = keras.Sequential([keras.Input(IMAGES.shape[1:]), make()])
        restored.load_weights(path)
    np.testing.assert_array_equal(restored.layers[0].gain, model.layers[0].gain)
    np.testing.assert_array_equal(restored(IMAGES), model(IMAGES))


def test_the_activation_comes_after_the_bias():
    for make, _ in list(LAYERS.values())[:3]:
        plain, active = randomized(make), randomized(make, activation="relu")
        np.testing.assert_allclose(active(IMAGES), np.maximum(plain(IMAGES), 0.0))
