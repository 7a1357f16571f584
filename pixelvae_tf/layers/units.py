"""The units of a masked layer: what happens between its convolution and its output maps."""

from __future__ import annotations

from keras import ops

ACTIVATIONS = ("gated", "relu")


def parts_of(activation: str) -> int:
    """Sets of maps that a unit consumes for each set that it gives: the gated one takes two."""
    return 2 if activation == "gated" else 1


def apply_unit(activation: str, maps):
    """tanh(a) * sigmoid(b) of the two halves of the last axis ("gated", van den Oord et al. 2016b), or ReLU."""
    if activation == "relu":
        return ops.relu(maps)
    signal, gate = ops.split(maps, 2, axis=-1)
    return ops.tanh(signal) * ops.sigmoid(gate)
