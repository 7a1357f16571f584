"""The units (activation functions) of a masked layer, between its convolution and its output maps.

On the CPU these element-wise chains cost as much as the convolutions. So XLA compiles a gate to one forward loop over
the maps and one backward loop.
"""

from __future__ import annotations

import contextlib
import functools
import operator
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from pixelvae_tf.layers.compilation import compiled, traced_once

ACTIVATIONS = ("gated", "relu")
_gates_are_plain = False


def parts_of(activation: str) -> int:
    """Returns the number of input maps of a unit for each output map: two for a gate."""
    return 2 if activation == "gated" else 1


def kernel_initializer(activation: str) -> keras.initializers.Initializer:
    """Returns initial weights of the convolutions around a unit, which keep the variance of maps through many layers.

    A gate passes on about a quarter of its input's variance, a ReLU half. The vertical stack has no residual
    connections, so with Glorot's weights its deep maps start near zero. On binarized MNIST, with 13 gated layers of 16
    maps, the bound after 100 steps of 32 images is 110 nats with these weights and 133 nats with Glorot's.
    """
    return keras.initializers.VarianceScaling(4.0 if activation == "gated" else 2.0, "fan_avg", "uniform")


def apply_unit(activation: str, bias, *maps):
    """Applies the unit to the sum of `maps` and `bias`.

    Args:
        activation: "gated" for tanh(a) * sigmoid(b) of the two halves of the last axis (van den Oord et al. 2016b),
            or "relu".
        bias: broadcasts against the maps. The bias of a conditional unit depends on z.
        *maps: one or more of (batch, height, width, channels * parts_of(activation)).

    Returns:
        (batch, height, width, channels).
    """
    if activation == "relu":
        return ops.relu(_total(*maps, bias))
    return plain_gate(bias, *maps) if _gates_are_plain else gate(*map(tf.convert_to_tensor, (bias, *maps)))


@contextlib.contextmanager
def plain_gates() -> Iterator[None]:
    """Makes graphs traced in the block compute gates by plain operations with automatic gradients, for comparison."""
    global _gates_are_plain
    before, _gates_are_plain = _gates_are_plain, True
    try:
        yield
    finally:
        _gates_are_plain = before


def plain_gate(bias, *maps):
    """Computes tanh(a) * sigmoid(b) of the halves of the sum, in the precision of the maps."""
    signal, gates = ops.split(_total(*maps, bias), 2, axis=-1)
    return ops.tanh(signal) * ops.sigmoid(gates)


def initializer_after_relu() -> keras.initializers.Initializer:
    """Returns initial weights of the layer that adds a ReLU's maps to the residual connection.

    A gate's maps are bounded, but a ReLU's are as large as its inputs. With the weights of `kernel_initializer` every
    layer more than doubles the variance. A new network of 13 layers then starts at 219,000 nats per image on binarized
    MNIST, and z collapses (`flags/mnist_pixelvae.cfg`, 300 steps of 16 images: a KL of 0.4 nats). With a twentieth of
    that variance the network starts at 758 nats, and the KL is 5.0 nats.
    """
    return keras.initializers.VarianceScaling(0.1, "fan_avg", "uniform")


def _total(*terms):
    return functools.reduce(operator.add, terms)


@traced_once
@tf.custom_gradient
def gate(bias, *maps):
    """Computes tanh(a) * sigmoid(b) of the halves of the sum, always in float32.

    The gradient needs only tanh(a) and tanh(b / 2), so the graph keeps these instead of the sum. In bfloat16 the
    processor would convert every number for every operation, which is several times slower and less exact.
    """
    shared_axes = [axis for axis, size in enumerate(bias.shape) if size == 1]
    outputs, tanhs = _gate(bias, *maps)

    def gradient(upstream):
        of_sum = _gate_gradient(tanhs, upstream)
        of_bias = tf.reduce_sum(of_sum, shared_axes, keepdims=True) if shared_axes else of_sum
        return of_bias, *[of_sum] * len(maps)

    return outputs, gradient


@compiled
def _gate(bias, *maps):
    """Returns the gate and its tanhs, both in the precision of the maps."""
    dtype, lanes = maps[0].dtype, maps[0].shape[-1]
    # sigmoid(b) = (1 + tanh(b / 2)) / 2: one tanh over all lanes, which XLA vectorises on the CPU.
    scale = np.repeat(np.float32([1.0, 0.5]), lanes // 2)
    tanhs = tf.tanh(_total(*(tf.cast(term, tf.float32) for term in (*maps, bias))) * scale)
    signal, half = tf.split(tanhs, 2, axis=-1)
    return tf.cast(signal * (0.5 + 0.5 * half), dtype), tf.cast(tanhs, dtype)


@compiled
def _gate_gradient(tanhs, upstream):
    signal, half = tf.split(tf.cast(tanhs, tf.float32), 2, axis=-1)
    upstream = tf.cast(upstream, tf.float32)
    of_signal = upstream * (0.5 + 0.5 * half) * (1.0 - tf.square(signal))
    of_gates = upstream * 0.25 * signal * (1.0 - tf.square(half))
    # Rounds the halves before joining them: XLA joins bfloat16 halves in half the time of float32 ones.
    return tf.concat([tf.cast(of_signal, tanhs.dtype), tf.cast(of_gates, tanhs.dtype)], axis=-1)
