"""What a graph costs, against counts by hand."""

import pytest
import tensorflow as tf

from pixelvae_tf.benchmarks import graph_cost

MAPS = tf.TensorSpec((2, 6, 8, 3), tf.float32)


def graph_of(function, *specs) -> tf.Graph:
    return tf.function(function, autograph=False).get_concrete_function(*specs).graph


def test_a_convolution_counts_its_taps_at_every_output_position():
    kernel = tf.ones((3, 5, 3, 7))
    graph = graph_of(lambda maps: tf.nn.conv2d(maps, kernel, 2, "SAME"), MAPS)
    assert graph_cost.flop(graph) == 2 * (2 * 3 * 4) * (3 * 5 * 3 * 7)


def test_what_no_result_needs_is_not_counted():
    variable = tf.Variable(tf.zeros((2, 2)))

    def function(matrix):
        tf.matmul(matrix, matrix)
        variable.assign(tf.matmul(matrix, matrix))
        return matrix + 1.0

    assert graph_cost.flop(graph_of(function, tf.TensorSpec((2, 2), tf.float32))) == 2 * 2 * 2 * 2


def test_a_transposed_convolution_counts_its_taps_at_every_input_position():
    kernel = tf.ones((3, 3, 5, 3))
    graph = graph_of(lambda maps: tf.nn.conv2d_transpose(maps, kernel, (2, 12, 16, 5), 2), MAPS)
    assert graph_cost.flop(graph) == 2 * (2 * 6 * 8) * (3 * 3 * 5 * 3)


def test_each_gradient_of_a_convolution_counts_as_much_as_the_convolution():
    def gradients(maps, kernel):
        with tf.GradientTape() as tape:
            tape.watch([maps, kernel])
            result = tf.nn.conv2d(maps, kernel, 2, "SAME")
        return result, tape.gradient(result, [maps, kernel])

    graph = graph_of(gradients, MAPS, tf.TensorSpec((3, 5, 3, 7), tf.float32))
    assert graph_cost.flop(graph) == 3 * 2 * (2 * 3 * 4) * (3 * 5 * 3 * 7)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_product_of_matrices_counts_the_summed_side_however_it_is_stored(transposed):
    shape = (4, 2) if transposed else (2, 4)
    left, right = tf.TensorSpec(shape, tf.float32), tf.TensorSpec((4, 3), tf.float32)
    graph = graph_of(lambda a, b: tf.matmul(a, b, transpose_a=transposed), left, right)
    assert graph_cost.flop(graph) == 2 * 2 * 4 * 3
    batched = (tf.TensorSpec((5, *spec.shape), tf.float32) for spec in (left, right))
    graph = graph_of(lambda a, b: tf.matmul(a, b, adjoint_a=transposed), *batched)
    assert graph_cost.flop(graph) == 5 * 2 * 2 * 4 * 3


def looped(steps: int | None):
    """A function of a 3x3 matrix whose loop multiplies it by itself so often, in a function that it calls."""

    @tf.function(autograph=False)
    def square(matrix):
        return tf.matmul(matrix, matrix)

    def loop(matrix):
        return tf.while_loop(
            lambda line, _: line < 4, lambda line, x: (line + 1, square(x)), (0, matrix), maximum_iterations=steps
        )

    return graph_of(loop, tf.TensorSpec((3, 3), tf.float32))


def test_a_loop_counts_as_often_as_it_runs_and_a_function_where_it_is_called():
    graph, once = looped(4), 2 * 3 * 3 * 3
    assert graph_cost.flop(graph) == 4 * once
    slow_arithmetic = graph_cost.Device("", {tf.float32: 1.0}, 1e12)
    assert graph_cost.seconds(graph, slow_arithmetic) == pytest.approx(4 * once)
    with pytest.raises(ValueError, match="how often this loop runs is not known; give it maximum_iterations"):
        graph_cost.flop(looped(None))


def test_tensors_are_held_until_they_are_last_read():
    def chain(x):
        a = x + 1.0
        b = tf.reshape(a * 2.0, (10, 10))  # Held with a: 800 bytes.
        c = tf.reshape(b, (100,)) + a  # The reshaped b is b; held with a and b: 1,200 bytes.
        return tf.reduce_sum(c)  # c and four bytes.

    graph = graph_of(chain, tf.TensorSpec((100,), tf.float32))
    assert graph_cost.peak_bytes(graph) == 1200


def test_a_result_is_held_to_the_end():
    def two(x):
        a = x + 1.0
        b = tf.reduce_sum(x + 2.0)
        return a, b

    graph = graph_of(two, tf.TensorSpec((100,), tf.float32))
    assert graph_cost.peak_bytes(graph) == 804


def test_what_a_called_function_passes_through_or_returns_twice_is_held_once():
    @tf.function(autograph=False)
    def called(value):
        twice = 2.0 * value
        return twice, value, tf.identity(twice)

    def outer(value):
        first, same, again = called(value)
        return first + same + again

    values = 1000 * 4
    # The result of the call, the first sum and the second.
    assert graph_cost.peak_bytes(graph_of(outer, tf.TensorSpec((1000,), tf.float32))) == 3 * values


def test_a_list_that_a_loop_fills_is_held_until_it_is_last_read_and_moves_nothing():
    @tf.function(autograph=False)
    def filled(value):
        array = tf.TensorArray(tf.float32, 5, element_shape=value.shape, clear_after_read=False)
        body = lambda line, array: (line + 1, array.write(line, 2.0 * value))  # noqa: E731
        return tf.while_loop(lambda line, _: line < 5, body, (0, array), maximum_iterations=5)[1].flow

    def outer(value):
        of_list = {"index": 0, "element_shape": value.shape, "element_dtype": tf.float32}
        return tf.raw_ops.TensorListGetItem(input_handle=filled(value), **of_list) + 1.0

    graph, values = graph_of(outer, tf.TensorSpec((1000,), tf.float32)), 1000 * 4
    # The list, and what is read of it.
    assert graph_cost.peak_bytes(graph) == 6 * values
    slow_memory = graph_cost.Device("", {tf.float32: 1e12}, 1.0)
    # Five products and the sum, which read and write; counters beside them.
    assert graph_cost.seconds(graph, slow_memory) == pytest.approx(6 * 2 * values, rel=0.02)


def test_an_operation_takes_the_longer_of_its_arithmetic_and_its_traffic():
    kernel = tf.TensorSpec((3, 5, 3, 7), tf.float32)
    graph = graph_of(lambda maps, kernel: tf.nn.conv2d(maps, kernel, 1, "SAME"), MAPS, kernel)
    work = 2 * (2 * 6 * 8) * (3 * 5 * 3 * 7)
    traffic = 4 * (2 * 6 * 8 * (3 + 7) + 3 * 5 * 3 * 7)
    slow_arithmetic = graph_cost.Device("", {tf.float32: 1.0}, 1e12)
    slow_memory = graph_cost.Device("", {tf.float32: 1e12}, 1.0)
    assert graph_cost.seconds(graph, slow_arithmetic) == pytest.approx(work)
    assert graph_cost.seconds(graph, slow_memory) == pytest.approx(traffic)


def test_a_graph_of_unknown_batch_size_is_refused():
    graph = graph_of(lambda x: x + 1.0, tf.TensorSpec((None, 3), tf.float32))
    with pytest.raises(ValueError, match="batch size"):
        graph_cost.peak_bytes(graph)
