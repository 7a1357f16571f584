"""The steps of a masked convolution whose input arrives in the order of generation.

A full pass computes all positions at once. A sampler gets the rows one after another, the pixels of a row one after
another, and the colors of a pixel one after another. So the work of a masked layer splits in two steps:

- `row` computes what the layer sees of the rows above, for a whole row at once;
- `pixel` computes what the layer sees of the current row, pixel by pixel and color by color.

Nothing is computed twice. The steps keep only the past that the kernel reaches: some rows, each (columns, batch,
channels), and the pixels to the left, side by side in the channels of one (batch, channels). Each step takes the newest
input that the layer may see and drops the oldest. For a layer of type B the newest input is the current row or color;
for a layer of type A it is the previous row or color.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import tensorflow as tf
from keras import ops

from pixelvae_tf.layers import masks


class Steps(Protocol):
    """The steps of a network, as its `incremental` method returns them.

    Caches, windows and everything else that passes from step to step are nests of arrays. "From above" and "finished"
    are nests with one array for each layer of the network that needs one: (columns, batch, channels) for a whole row,
    (batch, channels) for one pixel.
    """

    def start_rows(self, columns: int, batch):
        """Returns the caches above the first row."""

    def row(self, caches, row, features, finished):
        """Steps from one row to the next.

        Args:
            caches: from `start_rows` or the step before.
            row: number of the row.
            features: (columns, batch, channels) of the row above; zeros for the first row.
            finished: the results of `finished` for the row above; zeros for the first row.

        Returns:
            The next caches, and the contribution of the rows above to each pixel of this row.
        """

    def start_pixels(self, batch):
        """Returns the windows left of the first pixel."""

    def pixel(self, windows, from_above, newest, color: int):
        """Steps from one color of a pixel to the next.

        Args:
            windows: from `start_pixels` or the step before.
            from_above: the contribution of the rows above to this pixel, from `row`.
            newest: (batch, channels), the features of the previous color, which may be the last of the previous pixel.
            color: number of the current color.

        Returns:
            The next windows, and (batch, output units of the color).
        """

    def finished(self, windows):
        """Returns what later rows need of a pixel in addition to its features, after its last color."""


class ConvSteps:
    """The row step and the pixel step of one `MaskedConv2D`, with its effective weights computed once.

    Args:
        conv: a built `MaskedConv2D`. A vertical stack has row steps only, a horizontal one pixel steps only; a
            raster layer has both, and its result is the sum of the two.
    """

    def __init__(self, conv):
        height, width, self.inputs, outputs = conv.kernel.shape
        self.dtype = conv.compute_dtype
        kernel = conv.effective_kernel(ops.cast(conv.kernel, self.dtype))
        self.rows = height if conv.stack == "vertical" else conv.reach_rows[0]
        # The kernel's rows side by side as the channels of one row, as in the cache.
        self.row_kernel = ops.reshape(
            ops.transpose(kernel[: self.rows], (1, 0, 2, 3)), (width, 1, self.rows * self.inputs, outputs)
        )
        output_colors = masks.color_of_channel(outputs, conv.colors, conv.parts)
        self.channels_of_color = [np.flatnonzero(output_colors == color) for color in range(conv.colors)]
        self.bias = ops.cast(conv.bias, self.dtype) if conv.use_bias else None
        self.has_pixels = self.rows < height
        if self.has_pixels:
            left, _ = conv.reach_columns
            self._prepare_pixels(conv, kernel[-1, : left + 1], left * self.inputs)

    def _prepare_pixels(self, conv, taps, left_channels: int) -> None:
        """Makes the weights of each color's step from the taps on the current row, (columns, inputs, outputs)."""
        taps = ops.reshape(taps, (-1, taps.shape[-1]))
        of_color = np.bincount(masks.color_of_channel(self.inputs, conv.colors))
        before = left_channels + np.cumsum(of_color) - of_color
        seen = before + (of_color if conv.mask_type == "B" else 0)
        # The window contains the channels of the current pixel's earlier colors, but not of later ones.
        self.pixel_kernels = self.by_color(taps)
        self.pixel_kernels = [kernel[:rows] for kernel, rows in zip(self.pixel_kernels, seen, strict=True)]
        self.biases = None if self.bias is None else self.by_color(self.bias)
        newest = of_color[0] if conv.mask_type == "B" else of_color[-1]
        self.window_channels = int(seen[0] - newest)

    def by_color(self, maps) -> list:
        """Splits a tensor whose last axis is this layer's output into the maps of each color."""
        if len(self.channels_of_color) == 1:
            return [maps]
        return [tf.gather(maps, channels, axis=-1) for channels in self.channels_of_color]

    def start_rows(self, columns, batch):
        """Returns the cache above the first row, which is padding."""
        return (ops.zeros((columns, batch, self.inputs), self.dtype),) * (self.rows - 1)

    def row(self, cache, newest):
        """Computes what the rows above (for a vertical stack also the current row) contribute to all pixels of a row.

        Args:
            cache: from `start_rows`, or from the step before.
            newest: (columns, batch, inputs), the last row that the layer may see.

        Returns:
            The next cache, and (columns, batch, outputs).
        """
        rows = (*cache, newest)
        seen = rows[0] if len(rows) == 1 else ops.concatenate(rows, axis=-1)
        if self.row_kernel.shape[0] == 1:
            maps = ops.matmul(ops.reshape(seen, (-1, seen.shape[-1])), self.row_kernel[0, 0])
            maps = ops.reshape(maps, (seen.shape[0], -1, maps.shape[-1]))
        else:
            # All columns of the rows above are visible: as many to the left as to the right.
            maps = ops.conv(seen[None], self.row_kernel, padding="same")[0]
        return rows[1:], maps if self.has_pixels or self.bias is None else maps + self.bias

    def start_pixels(self, batch):
        """Returns the window left of a row's first pixel, which is padding."""
        return ops.zeros((batch, self.window_channels), self.dtype)

    def pixel(self, window, newest, color: int, from_above=None):
        """Computes the maps of one color of one pixel, from what the layer sees of the current row.

        Args:
            window: from `start_pixels`, or from the step before.
            newest: (batch, channels of one color), the last color that the layer may see.
            color: number of the current color.
            from_above: `by_color` of the result of `row` for this pixel, to add; or None.

        Returns:
            The next window, and (batch, outputs of this color).
        """
        window = ops.concatenate([window, newest], axis=-1)
        maps = ops.matmul(window, self.pixel_kernels[color])
        if self.biases is not None:
            maps = maps + self.biases[color]
        if from_above is not None:
            maps = maps + from_above[color]
        is_last = color == len(self.channels_of_color) - 1
        return window[:, self.inputs :] if is_last else window, maps

    def finished(self, window):
        """Returns the inputs of a pixel, (batch, inputs), after its last color. The next rows see them."""
        return window[:, -self.inputs :]
