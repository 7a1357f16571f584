"""A convolutional LSTM over lines of positions, one line after another, and its gradient.

A step processes all positions of a line: a row of the image for the Row LSTM, a diagonal for the Diagonal BiLSTM. The
products of input and weights are computed before the loop. A step then has one small product and an element-wise chain.
The backward loop computes the gradients of the gates' inputs. One product over all lines after it gives the gradient of
the weights.

Both loops are ordinary loops of the graph. Compiled by XLA, they take as long on the CPU in float32, twice as long in
bfloat16, and ten times as long until the first step (one layer of the MNIST network, 16 images, one core).

States are always float32, because rounding errors would accumulate over the steps.
"""

from __future__ import annotations

import tensorflow as tf

from pixelvae_tf.layers.compilation import traced_once

# A new network keeps most of its state between steps, as Keras's LSTM does.
_FORGET_BIAS = 1.0


def activated(gates):
    """Computes the four gates from their inputs (..., 4 * units): o, f, i by a sigmoid, and the candidate g by tanh."""
    out, forget, enter, candidate = tf.split(gates, 4, axis=-1)
    return tf.sigmoid(out), tf.sigmoid(forget + _FORGET_BIAS), tf.sigmoid(enter), tf.tanh(candidate)


def cell(gates, memory):
    """Takes one LSTM step, from the inputs of its gates (..., 4 * units) and c (..., units) to the next h and c."""
    return _updated(activated(gates), memory)


def _updated(gates, memory):
    out, forget, enter, candidate = gates
    memory = forget * memory + enter * candidate
    return out * tf.tanh(memory), memory


def recurrence(inputs, kernel, initial, offsets: tuple[int, ...], first_lines: tuple[int, ...] | None = None):
    """Computes h at all positions of all lines.

        (o, f, i, g) = inputs[s] + K h[s - 1],  c[s] = f c[s - 1] + i g,  h[s] = o tanh(c[s])

    K reads h at the position itself and at its neighbors. Positions outside have the initial state.

    Args:
        inputs: (lines, directions, batch, positions, 4 * units), the other inputs of the gates.
        kernel: (directions, taps * units, 4 * units), K of each direction.
        initial: (2, directions, units), h and c before the first line.
        offsets: the offset of each of K's taps from the current position.
        first_lines: the first line of each position; None for line 0.

    Returns:
        (lines, directions, batch, positions, units) of the inputs' type; meaningless before `first_lines`.
    """
    kernel, initial = (tf.cast(tf.convert_to_tensor(array), tf.float32) for array in (kernel, initial))
    return _recurrence(tf.convert_to_tensor(inputs), kernel, initial, offsets, first_lines)


@traced_once
def _recurrence(inputs, kernel, initial, offsets, first_lines):
    @tf.custom_gradient
    def run(inputs, kernel, initial):
        given = map(tf.stop_gradient, (inputs, kernel, initial))
        states, memories, gates = _forward(*given, offsets, first_lines)

        def gradient(upstream):
            start = initial[:, :, None, None]
            before = [
                tf.concat([tf.broadcast_to(first, tf.shape(lines[:1])), lines[:-1]], axis=0)
                for first, lines in zip(tf.unstack(start), (states, memories), strict=True)
            ]
            of_sums, of_initial = _backward(upstream, kernel, initial, memories, before[1], gates, offsets, first_lines)
            of_kernel = _kernel_gradient(_Taps(offsets).read(before[0], start[0]), of_sums)
            return tf.cast(of_sums, inputs.dtype), of_kernel, of_initial

        return tf.cast(states, inputs.dtype), gradient

    return run(inputs, kernel, initial)


class _Taps:
    """The taps of K: gathers the states that K reads at each position, and scatters their gradients back."""

    def __init__(self, offsets: tuple[int, ...]):
        self.offsets = offsets
        self.before, self.after = max(0, -min(offsets)), max(0, *offsets, 0)

    def read(self, states, initial):
        """Gathers states (..., batch, positions, units) to (..., batch, positions, taps * units).

        `initial`, (..., 1, 1, units), is the state of positions outside.
        """
        if self.offsets == (0,):
            return states
        positions = states.shape[-2]
        outside = tf.broadcast_to(initial, tf.shape(states[..., :1, :]))
        padded = tf.concat([outside] * self.before + [states] + [outside] * self.after, axis=-2)
        starts = [self.before + offset for offset in self.offsets]
        return tf.concat([padded[..., start : start + positions, :] for start in starts], axis=-1)

    def spread(self, of_read):
        """Transposes `read`: returns the gradients of the states, and of the state outside, (..., units)."""
        positions, total = of_read.shape[-2], 0.0
        for offset, gradient in zip(self.offsets, tf.split(of_read, len(self.offsets), axis=-1), strict=True):
            padding = [(0, 0)] * (len(gradient.shape) - 2) + [(self.before + offset, self.after - offset), (0, 0)]
            total += tf.pad(gradient, padding)
        outside = tf.concat([total[..., : self.before, :], total[..., self.before + positions :, :]], axis=-2)
        return total[..., self.before : self.before + positions, :], tf.reduce_sum(outside, axis=(-3, -2))


def _product(maps, kernel, transpose_b: bool = False):
    """Multiplies (directions, batch, positions, n) by (directions, n, m)."""
    directions, _, positions, size = maps.shape
    outputs = tf.matmul(tf.reshape(maps, (directions, -1, size)), kernel, transpose_b=transpose_b)
    return tf.reshape(outputs, (directions, -1, positions, outputs.shape[-1]))


def _kernel_gradient(read, of_sums):
    """Computes K's gradient from its inputs and its output gradients, both (lines, directions, batch, positions, n)."""
    lines, directions = read.shape[:2]
    flat = [tf.reshape(array, (lines, directions, -1, array.shape[-1])) for array in (read, of_sums)]
    # Six times as fast as one product over all lines, which would have to transpose both.
    return tf.reduce_sum(tf.matmul(*flat, transpose_a=True), axis=0)


def _arrays(lines: int, *examples) -> list:
    return [tf.TensorArray(array.dtype, lines, element_shape=array.shape) for array in examples]


def _begun(first_lines: tuple[int, ...], line):
    """Returns which positions have begun at a line, (positions, 1) of 0 and 1."""
    return tf.cast(line >= tf.constant(first_lines), tf.float32)[:, None]


# Layers of one shape share a graph.
@traced_once
def _forward(inputs, kernel, initial, offsets, first_lines):
    """Returns h, c and the gates of every line: float32, float32 and the type of the inputs."""
    taps, start = _Taps(offsets), initial[:, :, None, None]

    def step(line, hidden, memory, *arrays):
        sums = tf.cast(inputs[line], tf.float32) + _product(taps.read(hidden, start[0]), kernel)
        gates = activated(sums)
        hidden, memory = _updated(gates, memory)
        if first_lines is not None:
            now = _begun(first_lines, line)
            hidden, memory = now * hidden + (1.0 - now) * start[0], now * memory + (1.0 - now) * start[1]
        written = (hidden, memory, tf.cast(tf.concat(gates, axis=-1), inputs.dtype))
        return line + 1, hidden, memory, *(array.write(line, new) for array, new in zip(arrays, written, strict=True))

    lines, units = inputs.shape[0], initial.shape[-1]
    hidden, memory = (tf.broadcast_to(state, tf.shape(inputs[0, ..., :units])) for state in tf.unstack(start))
    arrays = _arrays(lines, hidden, memory, inputs[0])
    done = tf.while_loop(lambda line, *_: line < lines, step, (0, hidden, memory, *arrays), maximum_iterations=lines)
    return [array.stack() for array in done[3:]]


@traced_once
def _backward(upstream, kernel, initial, memories, memories_before, gates, offsets, first_lines):
    """Returns the gradients of the gates' inputs, float32, and of the initial state, given the gradient of h."""
    taps = _Taps(offsets)

    def step(line, of_hidden, of_memory, of_initial, array):
        of_hidden += tf.cast(upstream[line], tf.float32)
        if first_lines is not None:
            now = _begun(first_lines, line)
            of_initial += tf.stack(
                [tf.reduce_sum((1.0 - now) * state, axis=(1, 2)) for state in (of_hidden, of_memory)]
            )
            of_hidden, of_memory = now * of_hidden, now * of_memory
        out, forget, enter, candidate = tf.split(tf.cast(gates[line], tf.float32), 4, axis=-1)
        shown = tf.tanh(memories[line])
        of_memory += of_hidden * out * (1.0 - tf.square(shown))
        of_sums = [
            of_hidden * shown * out * (1.0 - out),
            of_memory * memories_before[line] * forget * (1.0 - forget),
            of_memory * candidate * enter * (1.0 - enter),
            of_memory * enter * (1.0 - tf.square(candidate)),
        ]
        of_sums = tf.concat(of_sums, axis=-1)
        of_hidden, of_outside = taps.spread(_product(of_sums, kernel, transpose_b=True))
        of_initial += tf.stack([of_outside, tf.zeros_like(of_outside)])
        return line - 1, of_hidden, of_memory * forget, of_initial, array.write(line, of_sums)

    lines, zeros = upstream.shape[0], tf.zeros_like(memories[0])
    start = (lines - 1, zeros, zeros, tf.zeros_like(initial), *_arrays(lines, tf.cast(gates[0], tf.float32)))
    done = tf.while_loop(lambda line, *_: line >= 0, step, start, maximum_iterations=lines)
    _, of_hidden, of_memory, of_initial, array = done
    at_start = tf.stack([tf.reduce_sum(state, axis=(1, 2)) for state in (of_hidden, of_memory)])
    return array.stack(), of_initial + at_start
