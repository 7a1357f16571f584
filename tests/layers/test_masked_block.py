"""A block's two stacks: what each sees, exactly, by gradients."""

import numpy as np
import pytest
from causality import by_color, dependence, earlier
from keras import ops

from pixelvae_tf.layers.masked_block import MaskedBlock
from pixelvae_tf.layers.units import parts_of

HEIGHT, WIDTH, FILTERS, EXAMPLES = 4, 5, 6, 8
KINDS = [(kind, activation, colors) for kind in "AB" for activation in ("gated", "relu") for colors in (1, 3)]


def maps() -> np.ndarray:
    return np.random.normal(size=(EXAMPLES, HEIGHT, WIDTH, FILTERS)).astype("float32")


def block(mask_type: str, activation: str, colors: int, kernel_size: int = 3):
    """A fresh block as a function of its two inputs alone."""
    layer = MaskedBlock(FILTERS, kernel_size, mask_type, colors, activation)
    biases = np.zeros((1, 1, 1, FILTERS * parts_of(activation)), "float32")
    return lambda vertical, horizontal: layer(vertical, horizontal, biases, biases)


def by_loops(rule, colors: int) -> np.ndarray:
    """rule(dy, dx, input color, output color) for every pair of pixel colors."""
    shape = (HEIGHT, WIDTH, colors)
    seen = np.zeros((*shape, *shape), bool)
    for row, column, color, other_row, other_column, other in np.ndindex(seen.shape):
        seen[row, column, color, other_row, other_column, other] = rule(
            other_row - row, other_column - column, other, color
        )
    return seen


@pytest.mark.parametrize(("mask_type", "activation", "colors"), KINDS)
def test_the_vertical_stack_sees_whole_rows_above_and_nothing_of_the_horizontal_stack(mask_type, activation, colors):
    call = block(mask_type, activation, colors)
    found = by_color(dependence(lambda maps: call(maps, ops.zeros_like(maps))[0], maps()), colors) > 0
    last = -1 if mask_type == "A" else 0
    np.testing.assert_array_equal(found, by_loops(lambda dy, dx, *_: -1 <= dy <= last and abs(dx) <= 1, colors))
    assert not dependence(lambda maps: call(ops.zeros_like(maps), maps)[0], maps()).any()


@pytest.mark.parametrize(("mask_type", "activation", "colors"), KINDS)
def test_the_horizontal_stack_sees_the_left_of_its_row_and_what_the_vertical_stack_sees(mask_type, activation, colors):
    call = block(mask_type, activation, colors)

    def left(dy, dx, color_in, color_out):
        current = color_in < color_out or (color_in == color_out and mask_type == "B")
        return dy == 0 and (dx == -1 or (dx == 0 and current))

    found = by_color(dependence(lambda maps: call(ops.zeros_like(maps), maps)[1], maps()), colors) > 0
    np.testing.assert_array_equal(found, by_loops(left, colors))
    last = -1 if mask_type == "A" else 0
    found = by_color(dependence(lambda maps: call(maps, ops.zeros_like(maps))[1], maps()), colors) > 0
    np.testing.assert_array_equal(found, by_loops(lambda dy, dx, *_: -1 <= dy <= last and abs(dx) <= 1, colors))


@pytest.mark.parametrize("activation", ["gated", "relu"])
@pytest.mark.parametrize("colors", [1, 3])
def test_a_tower_of_blocks_sees_the_whole_past_without_a_blind_spot(activation, colors):
    tower = [block("AB"[index > 0], activation, colors) for index in range(4)]

    def horizontal(images):
        stacks = (images, images)
        for call in tower:
            stacks = call(*stacks)
        return stacks[1]

    found = by_color(dependence(horizontal, maps()), colors) > 0
    np.testing.assert_array_equal(found, earlier(HEIGHT, WIDTH, colors))


@pytest.mark.parametrize("mask_type", ["A", "B"])
def test_only_a_type_b_block_adds_its_horizontal_input_to_its_output(mask_type):
    layer = MaskedBlock(FILTERS, 3, mask_type)
    vertical, horizontal, bias = maps(), maps(), np.zeros((1, 1, 1, 2 * FILTERS), "float32")
    layer(vertical, horizontal, bias, bias)
    layer.output_conv.gain.assign(np.zeros(FILTERS))
    outputs = layer(vertical, horizontal, bias, bias)[1]
    np.testing.assert_array_equal(outputs, horizontal if mask_type == "B" else np.zeros_like(horizontal))


@pytest.mark.parametrize("stack", [0, 1])
def test_each_bias_moves_the_unit_of_its_own_stack(stack):
    layer = MaskedBlock(FILTERS, 3, "A")
    inputs, none = maps(), np.zeros((1, 1, 1, 2 * FILTERS), "float32")
    moved = [none, none]
    moved[stack] = none + 1.0
    before, after = layer(inputs, inputs, none, none), layer(inputs, inputs, *moved)
    changed = [bool(np.any(np.asarray(a) != np.asarray(b))) for a, b in zip(before, after, strict=True)]
    assert changed == [stack == 0, stack == 1]
