"""The steps of PixelRNN's layers, whose input arrives in the order of generation.

For the rows above, an LSTM has one state for each position, which the `row` step reads. Within a row the `pixel` step
advances the LSTM, the units of one color at a time. The mirrored direction of a Diagonal BiLSTM runs from right to
left, so it processes a whole row once the row is complete.

States are float32, as in `recurrence`.
"""

from __future__ import annotations

import numpy as np
from keras import ops

from pixelvae_tf.layers.masks import color_of_channel
from pixelvae_tf.layers.recurrence import cell, leftwards, recurrence


class _Steps:
    """The base of both layers' steps: their convolutions of the current pixel, and states by color."""

    def __init__(self, layer):
        self.dtype = layer.compute_dtype
        self.residual = layer.residual
        self.input = layer.input_conv.incremental()
        self.output = layer.output_conv.incremental()
        units_of_color = np.bincount(color_of_channel(layer.filters, layer.colors))
        self.ends = [int(end) for end in np.cumsum(units_of_color)[:-1]]
        # h and c of each direction outside the image, (directions, units).
        self.initial_hidden, self.initial_memory = ops.unstack(ops.cast(layer.initial_state, "float32"), axis=0)

    def by_color(self, units) -> tuple:
        """Splits (..., units) into the units of each color."""
        return tuple(ops.split(units, self.ends, axis=-1)) if self.ends else (units,)

    def start_by_color(self, state, batch) -> tuple:
        return self.by_color(ops.broadcast_to(state, (batch, state.shape[-1])))

    def start_pixels(self, batch):
        # The first states are never read. They only give the window its structure.
        return (
            self.input.start_pixels(batch),
            self.output.start_pixels(batch),
            self.start_by_color(self.initial_hidden[0], batch),
            self.start_by_color(self.initial_memory[0], batch),
        )

    def _outputs(self, window, hidden, newest, color: int, from_above=None):
        """Returns the next window of the 1x1 convolution, and the layer's maps of a color from its states."""
        window, outputs = self.output.pixel(window, ops.cast(hidden, self.dtype), color, from_above)
        return window, newest + outputs if self.residual else outputs


def _replaced(values: tuple, color: int, value) -> tuple:
    return (*values[:color], value, *values[color + 1 :])


def _joined(values: tuple):
    return values[0] if len(values) == 1 else ops.concatenate(values, axis=-1)


class RowLSTMSteps(_Steps):
    """The steps of a `RowLSTM`, by row, pixel and color.

    Args:
        layer: a built `RowLSTM`.
        bias: biases of the gates, (batch or 1, gates).
        kernel: weights from states to gates, (taps * units, gates).
    """

    def __init__(self, layer, bias, kernel):
        super().__init__(layer)
        self.bias = ops.cast(bias, "float32")
        self.kernel = ops.cast(kernel, "float32")
        self.taps = layer.kernel_size

    def start_rows(self, columns, batch):
        return ()

    def row(self, cache, row, finished):
        """Computes what a row's gates see of the states above, and returns it with those states, both by color.

        Args:
            cache: empty.
            row: number of the row.
            finished: the result of `finished` for the row above.
        """
        outside = (self.initial_hidden[0], self.initial_memory[0])
        hidden, memory = (ops.where(row > 0, above, start) for above, start in zip(finished, outside, strict=True))
        columns, reach = hidden.shape[0], self.taps // 2
        beside = [ops.broadcast_to(outside[0], ops.shape(hidden[:1]))] * reach
        padded = ops.concatenate([*beside, hidden, *beside], axis=0)
        read = ops.concatenate([padded[tap : tap + columns] for tap in range(self.taps)], axis=-1)
        gates = ops.matmul(read, self.kernel) + self.bias
        return cache, (tuple(self.input.by_color(gates)), self.by_color(memory))

    def pixel(self, windows, newest, from_above, color: int):
        """Computes one color of a pixel, (batch, outputs of the color), from `newest`, (batch, inputs of the color)."""
        inputs, outputs, hidden, memory = windows
        gates, memory_above = from_above
        inputs, sums = self.input.pixel(inputs, newest, color)
        now, memory_now = cell(ops.cast(sums, "float32") + gates[color], memory_above[color])
        outputs, maps = self._outputs(outputs, now, newest, color)
        return (inputs, outputs, _replaced(hidden, color, now), _replaced(memory, color, memory_now)), maps

    def finished(self, windows) -> tuple:
        """Returns h and c of a pixel, (batch, units), after its last color."""
        return _joined(windows[2]), _joined(windows[3])


class DiagonalBiLSTMSteps(_Steps):
    """The steps of a `DiagonalBiLSTM`: from left to right by color of each pixel, in the mirrored direction by row.

    Args:
        layer: a built `DiagonalBiLSTM`.
        bias: biases of the gates, (batch or 1, 2 * gates), the mirrored ones last.
        kernels: weights from states to gates, (directions, 2 * units, gates): the units above, then those beside.
    """

    def __init__(self, layer, bias, kernels):
        super().__init__(layer)
        self.units = layer.filters
        self.bias, self.mirrored_bias = ops.split(ops.cast(bias, "float32"), 2, axis=-1)
        kernels = ops.cast(kernels, "float32")
        self.above, self.mirrored_above = ops.unstack(kernels[:, : self.units], axis=0)
        self.beside, self.mirrored_beside = ops.unstack(kernels[:, self.units :], axis=0)
        self.beside_by_color = self.input.by_color(self.beside)
        self.mirrored_input = layer.mirrored_input_conv.incremental()
        self.mirrored_output = layer.mirrored_output_conv.incremental()
        self.colors, self.inputs = layer.colors, self.input.inputs
        self.mirrored_initial = ops.cast(layer.initial_state[:, 1:], "float32")

    def start_rows(self, columns, batch):
        """Returns the mirrored states two rows above the first row."""
        return ops.broadcast_to(self.initial_hidden[1], (columns, batch, self.units))

    def row(self, cache, row, finished):
        """Computes what a row sees from above, in its gates and through the mirrored direction in its maps, by color.

        Args:
            cache: from `start_rows`, or from the step before.
            row: number of the row.
            finished: the result of `finished` for the row above.
        """
        hidden, inputs = finished
        gates = ops.matmul(ops.where(row > 0, hidden, self.initial_hidden[0]), self.above) + self.bias
        mirrored = ops.where(row > 0, self._mirrored_row(cache, inputs), cache)
        _, maps = self.mirrored_output.row((), ops.cast(mirrored, self.dtype))
        maps = ops.where(row > 0, maps, ops.zeros_like(maps))
        return mirrored, (tuple(self.input.by_color(gates)), tuple(self.output.by_color(maps)))

    def _mirrored_row(self, states_above, inputs):
        """Computes the mirrored states of a complete row, (columns, batch, units)."""
        _, sums = self.mirrored_input.row((), inputs)
        sums = ops.cast(sums, "float32") + ops.matmul(states_above, self.mirrored_above) + self.mirrored_bias
        states = recurrence(sums[None], self.mirrored_beside[None], self.mirrored_initial, leftwards(sums.shape[0]))
        return states[0]

    def start_pixels(self, batch):
        # Also keeps the inputs, and h of the pixel to the left, which all colors read.
        inputs = ops.zeros((batch, self.inputs), self.dtype)
        sizes = np.cumsum(np.bincount(color_of_channel(self.inputs, self.colors)))[:-1]
        by_color = tuple(ops.split(inputs, [int(end) for end in sizes], axis=-1)) if self.colors > 1 else (inputs,)
        left = ops.broadcast_to(self.initial_hidden[0], (batch, self.units))
        return (*super().start_pixels(batch), by_color, left)

    def pixel(self, windows, newest, from_above, color: int):
        """Computes one color of a pixel, (batch, outputs of the color), from `newest`, (batch, inputs of the color)."""
        window, outputs, hidden, memory, inputs, left = windows
        gates, mirrored = from_above
        window, sums = self.input.pixel(window, newest, color)
        sums = ops.cast(sums, "float32") + gates[color] + ops.matmul(left, self.beside_by_color[color])
        now, memory_now = cell(sums, memory[color])
        outputs, maps = self._outputs(outputs, now, newest, color, mirrored)
        hidden, memory = _replaced(hidden, color, now), _replaced(memory, color, memory_now)
        left = _joined(hidden) if color == self.colors - 1 else left
        return (window, outputs, hidden, memory, _replaced(inputs, color, newest), left), maps

    def finished(self, windows) -> tuple:
        """Returns h and the inputs of a pixel, (batch, units) and (batch, inputs), after its last color."""
        return windows[5], _joined(windows[4])
