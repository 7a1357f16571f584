"""Layers a row, a pixel and a color at a time, against their full pass: every masked layer, in the order of generation.

A masked layer without steps, or without a replay of them here, fails.
"""

import numpy as np
import pytest
import tensorflow as tf
from inventory import BATCH, ENTRIES, HEIGHT, INVENTORY, WIDTH

from pixelvae_tf.layers.masked_conv import MaskedConv2D
from pixelvae_tf.layers.masks import color_of_channel


def rows_of(maps) -> list:
    """(batch, rows, columns, channels) as rows (columns, batch, channels)."""
    return list(tf.transpose(maps, (1, 2, 0, 3)))


def by_color(pixel, colors: int) -> list:
    """(batch, channels) as the channels of each color."""
    return tf.split(pixel, np.bincount(color_of_channel(pixel.shape[-1], colors)), axis=-1)


def in_order(outputs, parts: int = 1):
    """Outputs by row, column and color, back in one array with every color's channels where they belong."""
    colors = len(outputs[0][0])
    channels = sum(part.shape[-1] for part in outputs[0][0])
    order = np.argsort(np.argsort(color_of_channel(channels, colors, parts), kind="stable"), kind="stable")
    maps = tf.stack([tf.stack([tf.concat(pixel, -1) for pixel in row]) for row in outputs])
    return tf.gather(tf.transpose(maps, (2, 0, 1, 3)), order, axis=-1)


def replay_conv(layer, maps):
    steps, is_a = layer.incremental(), layer.mask_type == "A"
    rows = rows_of(maps)
    cache = steps.start_rows(WIDTH, BATCH)
    outputs = []
    for index, row in enumerate(rows):
        newest = row if layer.stack == "vertical" and not is_a else rows[index - 1] if index else tf.zeros_like(row)
        from_above = None
        if steps.rows:
            cache, from_above = steps.row(cache, newest)
        if layer.stack == "vertical":
            outputs.append([[pixel] for pixel in from_above])
            continue
        outputs.append([])
        window = steps.start_pixels(BATCH)
        before = tf.zeros_like(by_color(row[0], layer.colors)[-1])
        for column, pixel in enumerate(row):
            outputs[-1].append([])
            for color, newest in enumerate(by_color(pixel, layer.colors)):
                above = None if from_above is None else steps.by_color(from_above[column])
                window, part = steps.pixel(window, before if is_a else newest, color, above)
                before = newest
                outputs[-1][-1].append(part)
    return [in_order(outputs, layer.parts)]


def replay_block(layer, vertical, horizontal, vertical_bias, horizontal_bias):
    steps = layer.incremental()
    assert layer.mask_type == "A"
    cache = steps.start_rows(WIDTH, BATCH)
    rows, horizontal_rows = rows_of(vertical), rows_of(horizontal)
    vertical_outputs, outputs = [], []
    biases = [bias[None, :, 0, 0] for bias in (vertical_bias, horizontal_bias)]
    for index in range(HEIGHT):
        newest = rows[index - 1] if index else tf.zeros_like(rows[0])
        cache, maps, from_above = steps.row(cache, newest, *biases)
        vertical_outputs.append([[pixel] for pixel in maps])
        outputs.append([])
        windows, before = steps.start_pixels(BATCH), tf.zeros((BATCH, 1))
        for column in range(WIDTH):
            outputs[-1].append([])
            for color, newest in enumerate(by_color(horizontal_rows[index][column], layer.colors)):
                windows, part = steps.pixel(windows, before, [above[column] for above in from_above], color)
                outputs[-1][-1].append(part)
                before = newest
    return [in_order(vertical_outputs), in_order(outputs)]


def replay_residual_block(layer, maps):
    steps = layer.incremental()
    caches = steps.start_rows(WIDTH, BATCH)
    finished = tuple(tf.zeros((WIDTH, BATCH, layer.filters)) for _ in steps.finished(steps.start_pixels(BATCH)))
    outputs = []
    for row in rows_of(maps):
        caches, from_above = steps.row(caches, finished)
        windows, left_behind = steps.start_pixels(BATCH), []
        outputs.append([])
        for column, pixel in enumerate(row):
            outputs[-1].append([])
            above = tf.nest.map_structure(lambda part, column=column: part[column], from_above)
            for color, newest in enumerate(by_color(pixel, layer.colors)):
                windows, part = steps.pixel(windows, newest, above, color)
                outputs[-1][-1].append(part)
            left_behind.append(steps.finished(windows))
        finished = tf.nest.map_structure(lambda *pixels: tf.stack(pixels), *left_behind)
    return [in_order(outputs)]


def replay_lstm(layer, maps, bias):
    steps = layer.incremental(bias[:, 0, 0])
    cache = steps.start_rows(WIDTH, BATCH)
    finished = tf.nest.map_structure(
        lambda pixel: tf.zeros((WIDTH, *pixel.shape)), steps.finished(steps.start_pixels(BATCH))
    )
    outputs = []
    for index, row in enumerate(rows_of(maps)):
        cache, from_above = steps.row(cache, index, finished)
        windows, left_behind = steps.start_pixels(BATCH), []
        outputs.append([])
        for column, pixel in enumerate(row):
            outputs[-1].append([])
            above = tf.nest.map_structure(lambda part, column=column: part[column], from_above)
            for color, newest in enumerate(by_color(pixel, layer.colors)):
                windows, part = steps.pixel(windows, newest, above, color)
                outputs[-1][-1].append(part)
            left_behind.append(steps.finished(windows))
        finished = tf.nest.map_structure(lambda *pixels: tf.stack(pixels), *left_behind)
    return [in_order(outputs)]


def replay_network(steps, features, colors: int):
    caches = steps.start_rows(WIDTH, BATCH)
    finished = tf.nest.map_structure(
        lambda pixel: tf.zeros((WIDTH, *pixel.shape)), steps.finished(steps.start_pixels(BATCH))
    )
    rows, outputs = rows_of(features), []
    for index, row in enumerate(rows):
        above_row = rows[index - 1] if index else tf.zeros_like(row)
        caches, from_above = steps.row(caches, index, above_row, finished)
        windows, left_behind = steps.start_pixels(BATCH), []
        before = tf.zeros_like(by_color(row[0], colors)[-1])
        outputs.append([])
        for column, pixel in enumerate(row):
            outputs[-1].append([])
            above = tf.nest.map_structure(lambda part, column=column: part[column], from_above)
            for color, newest in enumerate(by_color(pixel, colors)):
                windows, part = steps.pixel(windows, above, before, color)
                outputs[-1][-1].append(part)
                before = newest
            left_behind.append(steps.finished(windows))
        finished = tf.nest.map_structure(lambda *pixels: tf.stack(pixels), *left_behind)
    return [in_order(outputs)]


# What a network is conditional on, by the dimensions of the array.
CONDITIONS = {1: "label", 2: "z", 4: "maps"}
REPLAYS = {
    "MaskedConv2D": lambda layer, entry: replay_conv(layer, *entry.inputs),
    "MaskedBlock": lambda layer, entry: replay_block(layer, *entry.inputs),
    "MaskedResidualBlock": lambda layer, entry: replay_residual_block(layer, *entry.inputs),
    "RowLSTM": lambda layer, entry: replay_lstm(layer, *entry.inputs),
    "DiagonalBiLSTM": lambda layer, entry: replay_lstm(layer, *entry.inputs),
    **dict.fromkeys(
        ("PixelCNN", "PixelRNN", "MaskedResidualNetwork"),
        lambda layer, entry: replay_network(
            layer.incremental(**{CONDITIONS[entry.inputs[1].ndim]: entry.inputs[1]}), entry.inputs[0], entry.colors
        ),
    ),
    "Decoder": lambda layer, entry: replay_network(
        layer.incremental(**layer.condition(entry.inputs[1])), entry.inputs[0], entry.colors
    ),
}


def test_every_masked_layer_has_steps():
    masked = {name for name, entries in INVENTORY.items() if any(entry.order != "anything" for entry in entries)}
    assert masked == set(REPLAYS)


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if entry.order != "anything"])
def test_steps_in_the_order_of_generation_give_the_full_pass(name):
    entry = ENTRIES[name]
    layer = entry.built()
    expected = entry.outputs(layer)
    found = REPLAYS[name.split()[0]](layer, entry)
    for full, stepped in zip(expected, found, strict=True):
        assert np.std(full) > 0.01
        np.testing.assert_allclose(stepped, full, atol=1e-5 * np.abs(full).max())


@pytest.mark.parametrize("mask_type", ["A", "B"])
@pytest.mark.parametrize("stack", ["raster", "vertical", "horizontal"])
@pytest.mark.parametrize("colors", [1, 3])
def test_a_convolution_of_any_stack_mask_and_number_of_colors_in_steps_is_the_full_one(mask_type, stack, colors):
    layer = MaskedConv2D(8, 5, mask_type, stack, colors, parts=2)
    maps = np.random.normal(size=(BATCH, HEIGHT, WIDTH, 4)).astype("float32")
    expected = layer(maps)
    layer.set_weights([value + np.random.normal(scale=0.1, size=value.shape) for value in layer.get_weights()])
    assert np.abs(layer(maps) - expected).max() > 0.1
    np.testing.assert_allclose(replay_conv(layer, maps)[0], layer(maps), atol=1e-5)
