"""The two layers of PixelRNN (van den Oord et al. 2016a): LSTMs over the rows and over the diagonals of an image."""

from __future__ import annotations

import keras
from keras import ops

from pixelvae_tf.layers.lstm_steps import DiagonalBiLSTMSteps, RowLSTMSteps
from pixelvae_tf.layers.masked_conv import MaskedConv2D
from pixelvae_tf.layers.recurrence import by_diagonals, by_rows, recurrence
from pixelvae_tf.layers.weight_norm import Conv2D

GATES = 4


class _MaskedLSTM(keras.layers.Layer):
    """The base of both layers: a recurrence over h units, a 1x1 convolution to 2h maps, and the identity around them.

    Args:
        filters: h, the units of each direction.
        kernel_size: length of the kernels along the row, odd.
        colors: colors of a pixel, generated in order.
        residual: whether to add the input to the output.
        weight_normalization: see `weight_norm`.

    `dropout`, (batch, height, width, directions * filters) (see `dropout.replica_factors`), multiplies the states in
    the output, but not between steps.
    """

    directions = 1

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        colors: int = 1,
        residual: bool = True,
        weight_normalization: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.colors = colors
        self.residual = residual
        self.weight_normalization = weight_normalization
        self.gate_inputs = GATES * filters
        self.output_conv = self._masked(2 * filters, 1, "horizontal", "output")

    def _masked(self, filters: int, length: int, stack: str, name: str, **settings) -> MaskedConv2D:
        """Makes a masked convolution of type B along the row."""
        settings |= {"colors": self.colors, "weight_normalization": self.weight_normalization}
        return MaskedConv2D(filters, (1, length), "B", stack, name=name, dtype=self.dtype_policy, **settings)

    def _input_to_state(self, length: int, stack: str, name: str) -> MaskedConv2D:
        # The caller passes the biases, including z's shift of them.
        return self._masked(self.gate_inputs, length, stack, name, parts=GATES, use_bias=False)

    def _state_to_state(self, kernel_size: tuple[int, int], name: str) -> Conv2D:
        """Makes the layer of the weights from states to gates. It needs no mask: these states are of earlier pixels."""
        return Conv2D(
            self.gate_inputs,
            kernel_size,
            padding="same",
            use_bias=False,
            weight_normalization=self.weight_normalization,
            dtype=self.dtype_policy,
            name=name,
        )

    def _build(self, maps_shape, inputs: list, states: list) -> None:
        if self.residual and maps_shape[-1] != 2 * self.filters:
            raise ValueError(
                f"{maps_shape[-1]} maps enter: a residual connection needs 2 * filters = {2 * self.filters}"
            )
        units = (*maps_shape[:-1], self.filters)
        for conv in inputs:
            conv.build(maps_shape)
        for conv in states:
            conv.build(units)
        self.output_conv.build(units)
        # The state of every position outside the image: h and c of each direction.
        self.initial_state = self.add_weight(
            name="initial_state", shape=(2, self.directions, self.filters), initializer="zeros", autocast=False
        )

    def _added(self, maps, outputs):
        return maps + outputs if self.residual else outputs

    def compute_output_shape(self, maps_shape, bias_shape=None):
        return (*maps_shape[:-1], 2 * self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "colors": self.colors,
            "residual": self.residual,
            "weight_normalization": self.weight_normalization,
        }


def _dropped(states, dropout):
    return states if dropout is None else states * dropout


def state_kernel(conv: Conv2D):
    """Returns the weights from states to gates as (taps * units, gates), with weight normalization."""
    kernel = conv.effective_kernel(ops.convert_to_tensor(conv.kernel))
    return ops.reshape(kernel, (-1, kernel.shape[-1]))


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class RowLSTM(_MaskedLSTM):
    """An LSTM from the top row down, all positions of a row at once.

        (o, f, i, g) = K_is * x[r] + K_ss * h[r - 1] + b,  c[r] = f c[r - 1] + i g,  h[r] = o tanh(c[r])

    K_is is a masked 1 x k convolution over the current row, K_ss an unmasked one over the states of the row above. So
    the layer sees a triangle of the rows above. It widens by k // 2 with each row and each layer to the left, and by
    k // 2 with each row to the right.

    Args: see `_MaskedLSTM`.

    Call: maps (batch, height, width, inputs), and the biases of the gates (batch or 1, 1, 1, `gate_inputs`). Returns
    (batch, height, width, 2 * filters).

    Source: van den Oord et al. 2016a, section 3.1.
    """

    def __init__(self, filters, kernel_size=3, colors=1, residual=True, weight_normalization=True, **kwargs):
        super().__init__(filters, kernel_size, colors, residual, weight_normalization, **kwargs)
        self.input_conv = self._input_to_state(kernel_size, "horizontal", "input")
        self.state_conv = self._state_to_state((1, kernel_size), "state")
        self.num_biases = self.gate_inputs

    def build(self, maps_shape):
        self._build(maps_shape, [self.input_conv], [self.state_conv])

    def call(self, maps, bias, dropout=None):
        height, width = maps.shape[1:3]
        inputs = _by_place(self.input_conv(maps) + bias)[None]
        sweep = by_rows(height, width, self.kernel_size // 2)
        states = recurrence(inputs, state_kernel(self.state_conv)[None], self.initial_state, sweep)
        return self._added(maps, self.output_conv(_dropped(_by_image(states[0], height, width), dropout)))

    def incremental(self, bias) -> RowLSTMSteps:
        """Returns the same layer for inputs that arrive in the order of generation; the bias without its positions."""
        return RowLSTMSteps(self, bias, state_kernel(self.state_conv))


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class DiagonalBiLSTM(_MaskedLSTM):
    """Two LSTMs over the diagonals of an image, which together see every earlier position of the maps.

        left: (o, f, i, g) at (r, c) = K_is x[r, c] + K_ss (h[r - 1, c], h[r, c - 1]) + b, with c from (r, c - 1)

    The other direction does the same on the mirrored image, with its own weights. Its states depend on pixels to the
    right, so they enter one row further down. Both directions process one diagonal per step: its positions need only
    the diagonal before it.

    The mirrored direction needs no mask: where its states enter, the whole row behind them is known.

    Args: see `_MaskedLSTM`; kernels are 1x1, so kernel_size does not matter.

    Call: maps (batch, height, width, inputs), and the biases of the gates (batch or 1, 1, 1, 2 * `gate_inputs`), the
    mirrored ones last. Returns (batch, height, width, 2 * filters).

    Source: van den Oord et al. 2016a, section 3.2.
    """

    directions = 2

    def __init__(self, filters, kernel_size=3, colors=1, residual=True, weight_normalization=True, **kwargs):
        super().__init__(filters, kernel_size, colors, residual, weight_normalization, **kwargs)
        self.input_conv = self._input_to_state(1, "horizontal", "input")
        self.mirrored_input_conv = self._input_to_state(1, "vertical", "mirrored_input")
        # Two rows: the state above, and the state to the left.
        self.state_conv = self._state_to_state((2, 1), "state")
        self.mirrored_state_conv = self._state_to_state((2, 1), "mirrored_state")
        self.mirrored_output_conv = self._masked(2 * filters, 1, "vertical", "mirrored_output", use_bias=False)
        self.num_biases = 2 * self.gate_inputs

    def build(self, maps_shape):
        self._build(
            maps_shape,
            [self.input_conv, self.mirrored_input_conv],
            [self.state_conv, self.mirrored_state_conv, self.mirrored_output_conv],
        )

    def state_kernels(self):
        """Returns the weights from states to gates, (directions, 2 * units, gates)."""
        return ops.stack([state_kernel(self.state_conv), state_kernel(self.mirrored_state_conv)])

    def call(self, maps, bias, dropout=None):
        bias, mirrored_bias = ops.split(bias, 2, axis=-1)
        height, width = maps.shape[1:3]
        inputs = [self.input_conv(maps) + bias, self.mirrored_input_conv(maps) + mirrored_bias]
        inputs = ops.stack([_by_place(of_direction) for of_direction in inputs])
        states = recurrence(inputs, self.state_kernels(), self.initial_state, by_diagonals(height, width))
        states, mirrored = ops.unstack(states)
        # One row down. `slice` has a cheaper gradient than indexing.
        mirrored = ops.slice(mirrored, (0, 0, 0), ((height - 1) * width, -1, self.filters))
        mirrored = ops.pad(mirrored, [(width, 0), (0, 0), (0, 0)])
        states, mirrored = (_by_image(of_direction, height, width) for of_direction in (states, mirrored))
        factors = (None, None) if dropout is None else ops.split(dropout, 2, axis=-1)
        states, mirrored = _dropped(states, factors[0]), _dropped(mirrored, factors[1])
        return self._added(maps, self.output_conv(states) + self.mirrored_output_conv(mirrored))

    def incremental(self, bias) -> DiagonalBiLSTMSteps:
        """Returns the same layer for inputs that arrive in the order of generation; the bias without its positions."""
        return DiagonalBiLSTMSteps(self, bias, self.state_kernels())


def _by_place(maps):
    """Rearranges (batch, height, width, n) to (height * width, batch, n)."""
    *_, height, width, channels = maps.shape
    return ops.transpose(ops.reshape(maps, (-1, height * width, channels)), (1, 0, 2))


def _by_image(maps, height: int, width: int):
    """Inverts `_by_place`."""
    return ops.reshape(ops.transpose(maps, (1, 0, 2)), (-1, height, width, maps.shape[-1]))
