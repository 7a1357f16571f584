"""PixelRNN: what each output sees, that its probabilities sum to one, and that both samplers draw the same images."""

import dataclasses

import models
import numpy as np
import pytest
import tensorflow as tf
import tiny
from agreement import assert_same
from causality import by_color, dependence, earlier

from pixelvae_tf import ModelConfig
from pixelvae_tf.config.base import ConfigError
from pixelvae_tf.networks.pixelrnn import CELLS, PixelRNN

HEIGHT, WIDTH = 4, 5


@pytest.mark.parametrize("colors", [1, 3])
def test_a_diagonal_bilstm_ignores_the_future_and_sees_the_whole_past_but_one_color(colors):
    """The last color of the row above enters the maps of its neighbours alone, all of them right of most pixels."""
    network = PixelRNN(colors * 2, 4 * colors, 3, "diagonal_bilstm", 3, colors=colors, output_layers=1)
    images = np.random.default_rng(0).normal(size=(8, HEIGHT, WIDTH, colors))
    expected = earlier(HEIGHT, WIDTH, colors)
    for row in range(1, HEIGHT):
        expected[row, : WIDTH - 1 - 1, :, row - 1, WIDTH - 1, colors - 1] = False
    strength = by_color(dependence(network, images), colors)
    np.testing.assert_array_equal(strength > 0, expected)


def triangle(height: int, width: int, row: int, column: int, layers: int, reach: int, first: int) -> np.ndarray:
    """What a pixel sees through Row LSTMs of 2 * reach + 1 over a mask A convolution that reaches `first` far."""
    seen = np.zeros((height, width), bool)
    for up in range(row + 1):
        # Of the rows in between, the convolution takes none or some, and the LSTMs the rest.
        for by_first in range(min(first, up) + 1):
            left = column - reach * (up - by_first + layers) - first
            right = column + reach * (up - by_first) + (first if by_first else -1)
            seen[row - up, max(0, left) : max(0, right + 1)] = True
    return seen


@pytest.mark.parametrize(("row", "column"), [(6, 6), (3, 2)])
def test_a_row_lstm_sees_its_triangle_and_nothing_else(row, column):
    height, width = 7, 13
    network = PixelRNN(1, 6, 3, "row_lstm", 3)
    images = tf.constant(np.random.default_rng(0).normal(size=(8, height, width, 1)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(images)
        output = network(images)[:, row, column]
    seen = np.abs(tape.gradient(output, images).numpy()).sum(axis=(0, 3)) > 0
    expected = triangle(height, width, row, column, layers=2, reach=1, first=1)
    np.testing.assert_array_equal(seen, expected)
    past = earlier(height, width, 1)[row, column, 0, :, :, 0]
    assert not np.any(expected & ~past) and expected.sum() < past.sum()


@pytest.mark.parametrize("conditioning", ["bias", "maps"])
@pytest.mark.parametrize("blocks", CELLS)
def test_given_z_the_probabilities_of_all_images_sum_to_one_and_depend_on_it(blocks, conditioning):
    model = tiny.model(masked_blocks=blocks, conditioning=conditioning)
    images = tiny.all_images(model.config)
    score = tiny.scorer(model)
    log_p = [score(images, np.full((len(images), 1), z, "float32")) for z in (-1.0, 1.0)]
    for values in log_p:
        np.testing.assert_allclose(np.exp(values).sum(), 1.0, rtol=1e-4)
    assert np.abs(log_p[0] - log_p[1]).max() > 0.01


@pytest.mark.parametrize("blocks", CELLS)
def test_probabilities_of_all_color_images_sum_to_one(blocks):
    model = tiny.model(tiny.SMALL_COLOR, masked_blocks=blocks, latent_channels=())
    log_p = tiny.scorer(model)(tiny.all_images(model.config))
    np.testing.assert_allclose(np.exp(log_p).sum(), 1.0, rtol=1e-4)


@pytest.mark.parametrize("blocks", CELLS)
def test_both_samplers_draw_and_complete_the_same_images(blocks):
    config = dataclasses.replace(tiny.COLOR, image_shape=(3, 4, 3), masked_blocks=blocks, pixelcnn_channels=4)
    assert_same(tiny.model(config), 3, known_share=0.4)


@pytest.mark.exhaustive
def test_maps_of_latents_may_have_lstms_too():
    assert_same(models.model(models.COLOR, masked_blocks="diagonal_bilstm"), batch_size=3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"masked_blocks": "lstm"}, "choose one of 'stacks', 'residual', 'diagonal_bilstm', 'row_lstm'"),
        ({"masked_blocks": "row_lstm", "pixelcnn_layers": 1}, "pixelcnn_layers=1: .*2 or more"),
        ({"masked_blocks": "row_lstm", "activation": "relu"}, "activation='relu': .*row_lstm"),
        ({"residual_connections": False}, "residual_connections=False: .*'diagonal_bilstm', 'row_lstm'"),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_one_line(changes, words):
    with pytest.raises(ConfigError, match=words) as refused:
        ModelConfig(**changes)
    assert "\n" not in str(refused.value)
