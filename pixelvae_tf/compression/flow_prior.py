"""Codes the topmost latents of a model with a learned prior, by local bits-back coding (Ho, Lohn & Abbeel 2019).

A flow has no quantiles for each dimension: its noise is independent between dimensions, but z is not. So z is rounded
to a fine grid and passes the flow coupling by coupling. A coupling scales and shifts some features, depending on the
others. The encoder pops the result from a narrow normal distribution around its exact value, and pushes the original
feature under the same normal distribution, seen from the result. This costs the logarithm of the scale, as the density
requires. The noise at the end is standard normal.
"""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

from pixelvae_tf.compression import quantization
from pixelvae_tf.compression.ans import FREQUENCY_BITS, Stack
from pixelvae_tf.compression.walk import label_signature, optional
from pixelvae_tf.model.settings import own_settings
from pixelvae_tf.networks.flow import LOG_SCALE_LIMIT

# Cells of the grid per unit, and the width of the narrow normals in cells. They are as narrow as the grid allows,
# because their noise accumulates over the couplings and costs about its variance.
CELLS = 1 << 10
_WIDTH = 16.0
_SMALLEST_SCALE = 1e-3


class FlowCoder:
    """Stores z of the topmost level on a stack, under the flow.

    Args:
        flow: a `RealNVP`.
        dimensions: number of dimensions of z.
        batch_size: rows of every pass of the flow.
        num_classes: number of classes whose labels the flow takes, or 0.
    """

    def __init__(self, flow, dimensions: int, batch_size: int, num_classes: int = 0):
        self.dimensions, self.batch_size = dimensions, batch_size
        self.changed = [coupling.changed for coupling in flow.couplings]
        values = tf.TensorSpec((batch_size, dimensions), tf.float32)
        labels = label_signature(batch_size, num_classes)

        def affine(coupling, z, label: tuple):
            """Computes a coupling's scales and shifts of the features that it changes, from the others."""
            with own_settings():
                changes = np.isin(np.arange(dimensions), coupling.changed)
                (of_zeros, _), (of_ones, _) = (coupling(tf.where(changes, value, z), *label) for value in (0.0, 1.0))
                scale = tf.maximum(of_ones - of_zeros, _SMALLEST_SCALE)
                return tuple(tf.gather(part, coupling.changed, axis=-1) for part in (scale, of_zeros))

        self._affine = [
            tf.function(functools.partial(affine, coupling), input_signature=(values, labels), autograph=False)
            for coupling in flow.couplings
        ]

    @property
    def bits_an_image(self) -> int:
        """The most bits that are popped for an image, minus those pushed before."""
        stretched = sum(map(len, self.changed)) * (LOG_SCALE_LIMIT / np.log(2.0) + 1.0)
        return FREQUENCY_BITS * self.dimensions + int(stretched)

    def values(self, cells: np.ndarray) -> np.ndarray:
        """Converts cells of the grid to z, float32."""
        return (cells / CELLS).astype("float32")

    def draw(self, stack: Stack, posterior: np.ndarray, count: int) -> np.ndarray:
        """Pops z of the first `count` of (1, batch, 2 * dimensions) means and scales; (batch, dimensions) cells."""
        cells = np.zeros((self.batch_size, self.dimensions), "int64")
        for at, mean, scale in self._each(posterior, count):
            cells[at] = quantization.pop_cell(stack, mean, scale)
        return cells

    def give_back(self, stack: Stack, posterior: np.ndarray, cells: np.ndarray, count: int) -> None:
        """Undoes `draw`."""
        for at, mean, scale in reversed(list(self._each(posterior, count))):
            quantization.push_cell(stack, int(cells[at]), mean, scale)

    def store(self, stack: Stack, cells: np.ndarray, label: np.ndarray | None, count: int) -> None:
        """Pushes z under the prior, given the classes of the images if the flow takes them."""
        cells = cells.copy()
        for index in range(len(self.changed)):
            for at, scale, shift in self._changes(index, cells, label, count):
                before = int(cells[at])
                cells[at] = quantization.pop_cell(stack, before * scale + shift, _WIDTH * scale)
                quantization.push_cell(stack, before, (int(cells[at]) - shift) / scale, _WIDTH, _WIDTH)
        for cell in cells[:count].ravel().tolist():
            quantization.push_standard(stack, cell, CELLS)
        stack.note_depth()

    def restore(self, stack: Stack, label: np.ndarray | None, count: int) -> np.ndarray:
        """Undoes `store`."""
        cells = np.zeros((self.batch_size, self.dimensions), "int64")
        noise = [quantization.pop_standard(stack, CELLS) for _ in range(count * self.dimensions)]
        cells[:count] = np.array(noise[::-1]).reshape(count, self.dimensions)
        for index in reversed(range(len(self.changed))):
            for at, scale, shift in reversed(list(self._changes(index, cells, label, count))):
                after = int(cells[at])
                cells[at] = quantization.pop_cell(stack, (after - shift) / scale, _WIDTH, _WIDTH)
                quantization.push_cell(stack, after, int(cells[at]) * scale + shift, _WIDTH * scale)
        return cells

    def _each(self, posterior: np.ndarray, count: int):
        """Yields image and dimension of each value, with the mean and the scale of its posterior in cells."""
        quantization.check_gaussians(posterior)
        means, scales = np.split(posterior[0, :count].astype("float64") * CELLS, 2, axis=-1)
        yield from zip(np.ndindex(means.shape), means.ravel().tolist(), scales.ravel().tolist(), strict=True)

    def _changes(self, index: int, cells: np.ndarray, label: np.ndarray | None, count: int):
        """Yields image and feature of each value that a coupling changes, with its scale and its shift in cells."""
        affine = self._affine[index](self.values(cells), optional(label))
        scales, shifts = (part.numpy()[:count].astype("float64") for part in affine)
        places = [(image, feature) for image in range(count) for feature in self.changed[index]]
        yield from zip(places, scales.ravel().tolist(), (shifts * CELLS).ravel().tolist(), strict=True)
