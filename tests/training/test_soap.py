"""SOAP does what its paper says, kernel by kernel, and turns as the gradients do."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pixelvae_tf.training.soap import SOAP

RATE, BETA_1, BETA_2, EPSILON, REFRESH_EVERY = 0.1, 0.8, 0.9, 1e-6, 3
SETTINGS = {"beta_1": BETA_1, "beta_2": BETA_2, "epsilon": EPSILON, "refresh_every": REFRESH_EVERY}


def gradients(*shape: int, steps: int = 8) -> np.ndarray:
    """Of every step; they vary more in some directions than in others, and in none of the elements' own."""
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(shape[-1], shape[-1])) * np.logspace(0, -1, shape[-1])
    return (generator.normal(size=(steps, *shape)) @ mixing).astype("float32")


def taken(given: np.ndarray, **settings) -> np.ndarray:
    """The weights after every step of `SOAP`, from zero."""
    optimizer = SOAP(RATE, **{**SETTINGS, **settings})
    variable = keras.Variable(np.zeros(given.shape[1:], "float32"))
    optimizer.build([variable])
    step = tf.function(lambda gradient: optimizer.apply([gradient], [variable]))
    weights = []
    for gradient in given:
        step(tf.constant(gradient))
        weights.append(variable.numpy())
    return np.array(weights)


def expected(given: np.ndarray, with_bases: bool) -> np.ndarray:
    """The same of matrices, in 64-bit NumPy and as the paper's Algorithm 3 has it, with bias corrections."""
    rows, columns = given.shape[1:]
    weights, mean, square = np.zeros((3, rows, columns))
    statistics = [np.zeros((rows, rows)), np.zeros((columns, columns))]
    bases = [np.eye(rows), np.eye(columns)]
    found = []
    for step, gradient in enumerate(given.astype("float64")):
        for side, product in enumerate((gradient @ gradient.T, gradient.T @ gradient)):
            statistics[side] = BETA_2 * statistics[side] + (1 - BETA_2) * product
            if with_bases and step % REFRESH_EVERY == 0:
                bases[side] = (
                    np.linalg.qr(statistics[side] @ bases[side])[0]
                    if step
                    else np.linalg.eigh(statistics[side])[1][:, ::-1]
                )
        left, right = bases
        mean = BETA_1 * mean + (1 - BETA_1) * gradient
        square = BETA_2 * square + (1 - BETA_2) * (left.T @ gradient @ right) ** 2
        scale = np.sqrt(square / (1 - BETA_2 ** (step + 1))) + EPSILON
        if step:
            turned = left.T @ mean @ right / (1 - BETA_1 ** (step + 1))
            weights = weights - RATE * left @ (turned / scale) @ right.T
        found.append(weights)
    return np.array(found)


def test_it_takes_the_steps_of_the_papers_algorithm():
    given = gradients(4, 4)
    np.testing.assert_allclose(taken(given), expected(given, True), rtol=0, atol=1e-4)
    assert np.abs(expected(given, True) - expected(given, False)).max() > 0.05


def test_a_vector_and_a_matrix_without_bases_take_the_steps_of_adam():
    given = gradients(4, 4)
    adam = expected(given, False)
    np.testing.assert_allclose(taken(given, largest_side=3), adam, rtol=0, atol=1e-5)
    vectors = taken(given.reshape(-1, 16))
    np.testing.assert_allclose(vectors, adam.reshape(-1, 16), rtol=0, atol=1e-5)


def test_the_gradient_of_some_rows_of_a_table_is_that_of_the_table():
    given = gradients(3, 4)
    rows = [5, 0, 2]
    of_table = np.zeros((len(given), 6, 4), "float32")
    of_table[:, rows] = given
    optimizer, table = SOAP(RATE, **SETTINGS), keras.Variable(np.zeros((6, 4), "float32"))
    optimizer.build([table])
    step = tf.function(
        lambda gradient: optimizer.apply([tf.IndexedSlices(gradient, tf.constant(rows), (6, 4))], [table])
    )
    for gradient in given:
        step(tf.constant(gradient))
    np.testing.assert_allclose(table, taken(of_table)[-1], rtol=1e-5, atol=1e-6)
    assert np.abs(table).max() > 0.1


def test_a_long_side_keeps_its_coordinates_and_the_other_has_a_basis():
    given = gradients(6, 3)
    one, both, neither = (taken(given, largest_side=side) for side in (5, 6, 2))
    assert np.abs(one - both).max() > 0.01
    assert np.abs(one - neither).max() > 0.01


def test_a_kernel_is_the_matrix_of_its_taps_and_inputs_by_its_outputs():
    given = gradients(3, 1, 2, 5)
    steps = taken(given)
    np.testing.assert_array_equal(steps, taken(given.reshape(-1, 6, 5)).reshape(steps.shape))
    assert np.abs(steps[-1]).min() > 1e-3


@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_turned_gradients_take_turned_steps_and_those_of_adam_do_not(side):
    given = gradients(4, 4)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0].astype("float32")

    def turn(values):
        return rotation @ values if side == "inputs" else values @ rotation

    np.testing.assert_allclose(taken(turn(given)), turn(taken(given)), rtol=0, atol=1e-3)
    alone = {"largest_side": 1}
    assert np.abs(taken(turn(given), **alone) - turn(taken(given, **alone))).max() > 0.05


def test_it_descends_a_narrow_valley_that_lies_askew_faster_than_adam():
    generator = np.random.default_rng(0)
    left = (generator.normal(size=(20, 20)) * np.logspace(0, -2, 20)).astype("float32")
    right = (generator.normal(size=(8, 8)) * np.logspace(0, -1, 8)).astype("float32")
    goal = generator.normal(size=(20, 8)).astype("float32")

    def descend(optimizer) -> list[float]:
        weights = keras.Variable(np.zeros((20, 8), "float32"))
        optimizer.build([weights])

        @tf.function
        def step():
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.square(left @ (weights.value - goal) @ right))
            optimizer.apply(tape.gradient(loss, [weights.value]), [weights])
            return loss

        return [float(step()) for _ in range(300)]

    soap, adam = descend(SOAP(0.05)), descend(keras.optimizers.Adam(0.05))
    assert adam[-1] < adam[0] / 100
    assert soap[-1] < adam[-1] / 20


def test_its_settings_survive_serialization():
    optimizer = SOAP(RATE, largest_side=5, **SETTINGS)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(copy, SOAP)
    assert copy.get_config() == optimizer.get_config()
    assert float(copy.learning_rate) == pytest.approx(RATE)
