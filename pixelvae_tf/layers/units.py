"""The units of a masked layer: what happens between its convolution and its output maps.

On the CPU these element-wise chains cost as much as the convolutions. So XLA compiles a gate to one loop over the maps
forward and one backward.
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
    """The number of sets of maps that enter a unit for each set that leaves it: two for a gate."""
    return 2 if activation == "gated" else 1


def kernel_initializer(activation: str) -> keras.initializers.Initializer:
    """Initial weights of the convolutions around a unit. They keep the variance of maps through many layers.

    A gate passes about a quarter of the variance that enters it, a ReLU half of it. The vertical stack has no residual
    connections, so that with Glorot's weights its deep maps start at zero. On binarized MNIST, with 13 gated layers of
    16 maps, the bound after 100 steps of 32 images is 110 nats with these weights and 133 nats with Glorot's.
    """
    return keras.initializers.VarianceScaling(4.0 if activation == "gated" else 2.0, "fan_avg", "uniform")


def apply_unit(activation: str, bias, *maps):
    """The unit of the sum of `maps` and `bias`.

    Args:
        activation: "gated" for tanh(a) * sigmoid(b) of the two halves of the last axis (van den Oord et al. 2016b),
            or "relu".
        bias: broadcasts against the maps. A conditional unit has a bias that depends on z.
        *maps: one or more of (batch, height, width, channels * parts_of(activation)). The unit adds them up.

    Returns:
        (batch, height, width, channels).
    """
    if activation == "relu":
        return ops.relu(_total(*maps, bias))
    return plain_gate(bias, *maps) if _gates_are_plain else gate(*map(tf.convert_to_tensor, (bias, *maps)))


@contextlib.contextmanager
def plain_gates() -> Iterator[None]:
    """A block in which traced graphs compute gates by plain operations with automatic gradients, for comparison."""
    global _gates_are_plain
    before, _gates_are_plain = _gates_are_plain, True
    try:
        yield
    finally:
        _gates_are_plain = before


def plain_gate(bias, *maps):
    """tanh(a) * sigmoid(b) of the halves of the sum, in the precision of the maps."""
    signal, gates = ops.split(_total(*maps, bias), 2, axis=-1)
    return ops.tanh(signal) * ops.sigmoid(gates)


def initializer_after_relu() -> keras.initializers.Initializer:
    """Initial weights of the layer that adds a ReLU's maps to those of the layers before.

    A gate's maps are bounded, but a ReLU's are as large as its inputs. With the weights of `kernel_initializer` every
    layer more than doubles the variance. A fresh network of 13 layers then starts at 219,000 nats an image on binarized
    MNIST, and z collapses (`flags/mnist_pixelvae.cfg`, 300 steps of 16 images: a KL of 0.4 nats). With a twentieth of
    that variance the network starts at 758 nats, and the KL is 5.0 nats.
    """
    return keras.initializers.VarianceScaling(0.1, "fan_avg", "uniform")


def _total(*terms):
    return functools.reduce(operator.add, terms)


@traced_once
@tf.custom_gradient
def gate(bias, *maps):
    """tanh(a) * sigmoid(b) of the halves of the sum, computed in float32 whatever the precision of the maps.

    The gradient needs only tanh(a) and tanh(b / 2), so that the graph keeps these and not the sum. In bfloat16 the
    processor would convert every number for every operation: several times slower, and less exact.
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
    """The gate and its tanhs, both in the precision of the maps."""
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
    # Each half is rounded before they are joined: XLA joins bfloat16 halves in half the time of float32 ones.
    return tf.concat([tf.cast(of_signal, tanhs.dtype), tf.cast(of_gates, tanhs.dtype)], axis=-1)
