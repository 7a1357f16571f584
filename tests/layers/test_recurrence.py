"""The loop of an LSTM over lines of positions, and its own gradient, against the equations written out."""

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

from pixelvae_tf.layers.lstm import skewed, straightened
from pixelvae_tf.layers.recurrence import cell, recurrence
from pixelvae_tf.layers.units import apply_unit

LINES, DIRECTIONS, BATCH, POSITIONS, UNITS = 4, 2, 2, 3, 2


def written_out(inputs, kernel, initial, offsets, first_lines):
    """One position, direction and image at a time."""
    states = []
    for image, direction in np.ndindex(BATCH, DIRECTIONS):
        outside = tuple(initial[:, direction])
        before, lines = [outside] * POSITIONS, []
        for line in range(LINES):
            now = []
            for position in range(POSITIONS):
                beside = [position + offset for offset in offsets]
                read = [before[at][0] if 0 <= at < POSITIONS else outside[0] for at in beside]
                product = tf.linalg.matvec(kernel[direction], tf.concat(read, 0), transpose_a=True)
                state = cell(inputs[line, direction, image, position] + product, before[position][1])
                now.append(state if first_lines is None or line >= first_lines[position] else outside)
            before = now
            lines.append(tf.stack([hidden for hidden, _ in now]))
        states.append(tf.stack(lines))
    shape = (BATCH, DIRECTIONS, LINES, POSITIONS, UNITS)
    return tf.transpose(tf.reshape(tf.stack(states), shape), (2, 1, 0, 3, 4))


@pytest.mark.parametrize(("offsets", "first_lines"), [((-1, 0), (0, 1, 2)), ((-1, 0, 1), None), ((0,), None)])
def test_states_and_all_gradients_are_those_of_the_equations(offsets, first_lines):
    generator = np.random.default_rng(0)
    shapes = (
        (LINES, DIRECTIONS, BATCH, POSITIONS, 4 * UNITS),
        (DIRECTIONS, len(offsets) * UNITS, 4 * UNITS),
        (2, DIRECTIONS, UNITS),
    )
    given = [tf.constant(generator.normal(size=shape), tf.float32) for shape in shapes]
    upstream = generator.normal(size=(LINES, DIRECTIONS, BATCH, POSITIONS, UNITS)).astype("float32")
    if first_lines is not None:
        upstream *= (np.arange(LINES)[:, None] >= np.array(first_lines))[:, None, None, :, None]
    found = []
    for function in (recurrence, written_out):
        with tf.GradientTape() as tape:
            tape.watch(given)
            states = function(*given, offsets, first_lines)
            total = tf.reduce_sum(states * upstream)
        found.append([states * (upstream != 0), *tape.gradient(total, given)])
    for own, expected in zip(*found, strict=True):
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(own, expected, atol=1e-5)


OWN_GRADIENTS = {
    "gate": lambda maps: apply_unit("gated", tf.zeros((1, 1, 1, 4)), maps),
    "LSTM": lambda maps: recurrence(maps[None], tf.ones((2, 1, 4)), tf.zeros((2, 2, 1)), (0,)),
}


@pytest.mark.parametrize("name", OWN_GRADIENTS)
def test_a_graph_with_an_own_gradient_in_it_is_freed_like_any_other(name):
    """TensorFlow keeps what calls `tf.custom_gradient` for ever, and with it all else that the graph holds."""

    @tf.function(autograph=False)
    def step(maps):
        with tf.GradientTape() as tape:
            tape.watch(maps)
            outputs = OWN_GRADIENTS[name](maps)
        return tape.gradient(outputs, maps)

    graph = weakref.ref(step.get_concrete_function(tf.TensorSpec((2, 3, 5, 4))).graph)
    assert graph() is not None
    del step
    gc.collect()
    assert graph() is None


def test_skewing_moves_each_row_one_further_and_straightening_undoes_it():
    maps = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype("float32")
    moved = np.asarray(skewed(maps))
    assert moved.shape == (2, 3, 6, 5)
    for row, column in np.ndindex(3, 4):
        np.testing.assert_array_equal(moved[:, row, row + column], maps[:, row, column])
    np.testing.assert_array_equal(straightened(moved, 4), maps)
