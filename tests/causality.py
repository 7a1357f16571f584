"""What depends on what: measured by gradients, and as the order of generation says."""

import numpy as np
import tensorflow as tf


def dependence(function, inputs) -> np.ndarray:
    """How strongly each output of an example depends on each of its inputs: the sum of |d output / d input|.

    One copy of an example for each of its outputs gives all gradients in one backward pass. Several examples
    keep a ReLU that is off for one of them from hiding a connection.

    Args:
        function: (batch, ...) to (batch, ...), one example at a time.
        inputs: (examples, ...) float32.

    Returns:
        (output shape, input shape) without the batch.
    """
    inputs = tf.convert_to_tensor(inputs, tf.float32)
    examples, output_shape = inputs.shape[0], function(inputs[:1]).shape[1:]
    outputs = output_shape.num_elements()
    copies = tf.repeat(inputs, outputs, axis=0)
    with tf.GradientTape() as tape:
        tape.watch(copies)
        values = tf.reshape(function(copies), (examples, outputs, outputs))
        total = tf.reduce_sum(tf.linalg.diag_part(values))
    gradients = tape.gradient(total, copies, unconnected_gradients="zero").numpy()
    strength = np.abs(gradients).reshape(examples, outputs, -1).sum(axis=0)
    return strength.reshape(*output_shape, *inputs.shape[1:])


def by_color(strength: np.ndarray, colors: int) -> np.ndarray:
    """Dependence of image maps on image maps, with each color's contiguous channels taken together.

    (height, width, channels, height, width, channels) to (height, width, colors, height, width, colors).
    """
    height, width, outputs, _, _, inputs = strength.shape
    grouped = strength.reshape(height, width, colors, outputs // colors, height, width, colors, inputs // colors)
    return grouped.sum(axis=(3, 7))


def earlier(height: int, width: int, colors: int) -> np.ndarray:
    """Whether the second of two pixel colors is generated before the first: rows, columns, colors in order."""
    count = height * width * colors
    return np.tri(count, k=-1, dtype=bool).reshape(2 * (height, width, colors))


def tap_visible(dy, dx, color_in, color_out, mask_type, stack) -> bool:
    """The mask rule for one tap, (dy, dx) from the current position, in words of the raster order."""
    if stack == "vertical":
        return dy < 0 or (dy == 0 and mask_type == "B")
    if dy < 0:
        return stack == "raster"
    if dy > 0 or dx > 0:
        return False
    if dx < 0:
        return True
    return color_in < color_out or (color_in == color_out and mask_type == "B")
