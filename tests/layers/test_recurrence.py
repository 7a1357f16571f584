"""The loop of an LSTM over lines of positions, and its own gradient, against the equations written out."""

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

from pixelvae_tf.layers.recurrence import by_diagonals, by_rows, cell, leftwards, recurrence
from pixelvae_tf.layers.units import apply_unit

BATCH, UNITS = 2, 2


def written_out(inputs, kernel, initial, sweep):
    """One position, direction and image at a time."""
    states, positions = {}, sweep.places.shape[-1]
    for image, direction in np.ndindex(BATCH, sweep.places.shape[1]):
        outside = tuple(initial[:, direction])
        before = [outside] * positions
        for places in sweep.places[:, direction]:
            now = [outside] * positions
            for position, place in enumerate(places):
                beside = [position + offset for offset in sweep.offsets]
                read = [before[at][0] if 0 <= at < positions else outside[0] for at in beside]
                product = tf.linalg.matvec(kernel[direction], tf.concat(read, 0), transpose_a=True)
                if place >= 0:
                    now[position] = cell(inputs[direction, place, image] + product, before[position][1])
                    states[direction, place, image] = now[position][0]
            before = now
    shape = (*inputs.shape[:3], UNITS)
    return tf.reshape(tf.stack([states[index] for index in sorted(states)]), shape)


SWEEPS = {
    "rows": by_rows(4, 3, 1),
    "diagonals": by_diagonals(3, 2),
    "wide diagonals": by_diagonals(2, 4),
    "a row": leftwards(3),
}


@pytest.mark.parametrize("name", SWEEPS)
def test_states_and_all_gradients_are_those_of_the_equations(name):
    sweep, generator = SWEEPS[name], np.random.default_rng(0)
    directions = sweep.places.shape[1]
    shapes = (
        (directions, sweep.places.max() + 1, BATCH, 4 * UNITS),
        (directions, len(sweep.offsets) * UNITS, 4 * UNITS),
        (2, directions, UNITS),
    )
    given = [tf.constant(generator.normal(size=shape), tf.float32) for shape in shapes]
    upstream = generator.normal(size=(*shapes[0][:3], UNITS)).astype("float32")
    found = []
    for function in (recurrence, written_out):
        with tf.GradientTape() as tape:
            tape.watch(given)
            states = function(*given, sweep)
            total = tf.reduce_sum(states * upstream)
        found.append([states, *tape.gradient(total, given)])
    for own, expected in zip(*found, strict=True):
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(own, expected, atol=1e-5)


@pytest.mark.parametrize("name", SWEEPS)
def test_every_direction_visits_every_place_once(name):
    places = SWEEPS[name].places
    for direction in range(places.shape[1]):
        visited = places[:, direction][places[:, direction] >= 0]
        np.testing.assert_array_equal(sorted(visited), range(places.max() + 1))


def test_a_diagonal_goes_from_the_lower_left_to_the_upper_right_and_its_mirror_image_the_other_way():
    places = by_diagonals(3, 4).places
    # Line 2: row 0 is at column 2, row 2 at column 0. The mirror image has them at columns 1 and 3.
    np.testing.assert_array_equal(places[2], [[2, 5, 8], [1, 6, 11]])
    np.testing.assert_array_equal(places[0], [[0, -1, -1], [3, -1, -1]])


OWN_GRADIENTS = {
    "gate": lambda maps: apply_unit("gated", tf.zeros((1, 1, 1, 4)), maps),
    "LSTM": lambda maps: recurrence(maps[:1], tf.ones((1, 1, 4)), tf.zeros((2, 1, 1)), leftwards(3)),
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
