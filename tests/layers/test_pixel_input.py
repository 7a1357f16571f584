"""From integer pixels to features."""

import numpy as np
import pytest

from pixelvae_tf.layers.pixel_input import PixelInput


def pixels(levels: int, colors: int) -> np.ndarray:
    return np.random.randint(levels, size=(4, 3, 5, colors)).astype("uint8")


def test_binary_pixels_stay_zero_and_one():
    images = pixels(2, 1)
    np.testing.assert_array_equal(PixelInput(2)(images), images)


def test_256_levels_are_scaled_as_in_the_papers_code():
    images = pixels(256, 3)
    np.testing.assert_allclose(PixelInput(256)(images), (images.astype("float32") - 128) / 64)


@pytest.mark.parametrize("levels", [3, 17, 255])
def test_other_levels_are_scaled_evenly_to_about_minus_two_to_two(levels):
    values = np.arange(levels).reshape((1, 1, levels, 1))
    scaled = np.asarray(PixelInput(levels)(values)).ravel()
    np.testing.assert_allclose(scaled, -2 + 4 * np.arange(levels) / levels, atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_an_embedding_gives_every_value_of_every_color_a_vector_of_its_own(dtype):
    levels, colors, channels = 5, 3, 4
    layer = PixelInput(levels, channels)
    images = pixels(levels, colors)
    found = np.asarray(layer(images.astype(dtype)))
    table = layer.embedding.numpy().reshape(colors, levels, channels)
    for image, row, column, color in np.ndindex(images.shape):
        expected = table[color, images[image, row, column, color]]
        # The channels of one color are contiguous, in the order of the colors, as the masks expect.
        here = slice(color * channels, (color + 1) * channels)
        np.testing.assert_array_equal(found[image, row, column, here], expected)
    assert len(np.unique(table.reshape(-1, channels), axis=0)) == levels * colors


@pytest.mark.parametrize("embedding_channels", [0, 2])
def test_the_stated_shape_is_the_shape_of_the_result(embedding_channels):
    layer, images = PixelInput(7, embedding_channels), pixels(7, 3)
    assert layer.compute_output_shape(images.shape) == layer(images).shape
