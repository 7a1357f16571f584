"""PixelRNN: LSTMs over the image in place of the stacks of a PixelCNN."""

from __future__ import annotations

import keras
from keras import ops

from pixelvae_tf.layers.conditioning import UnitBiases, build_maps_convolution, maps_convolution
from pixelvae_tf.layers.lstm import DiagonalBiLSTM, RowLSTM
from pixelvae_tf.layers.masked_conv import MaskedConv2D

CELLS = {"diagonal_bilstm": DiagonalBiLSTM, "row_lstm": RowLSTM}


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class PixelRNN(keras.layers.Layer):
    """A mask A convolution, LSTM layers, masked 1x1 layers with ReLU, and logits; conditional on vector, maps, class.

    A latent vector shifts the bias of every gate, and the biases of the masked 1x1 layers. Maps (z after upsampling)
    pass a 1x1 convolution without a mask and are added to the first convolution's result, so all other layers see
    them. A class shifts the same biases as a latent vector.

    Args:
        output_channels: units of the result, those of one color side by side.
        filters: h, the units of each direction of an LSTM; there are 2h maps between the layers.
        num_layers: layers, the mask A convolution included.
        layer: "diagonal_bilstm" or "row_lstm".
        first_kernel_size: side of the mask A convolution.
        kernel_size: length of the row LSTM's kernels.
        output_layers: masked 1x1 layers before the result.
        colors: colors of a pixel, generated in order.
        residual_connections: whether every LSTM layer's input is added to its output.
        weight_normalization: see `weight_norm`.
        conditional_on_maps: whether the call gets `maps`.
        num_classes: classes of the images, for a call that gets a `label`; 0 for one without.

    Call: `features` (batch, height, width, channels) of the image; `z` (batch, dimensions) or None; `maps`
    (batch, height, width, maps) or None; `dropout`, factors for each of `residual_blocks`, or None; `label` (batch,)
    integers 0..classes-1, or None. Returns (batch, height, width, output_channels).

    Source: van den Oord et al. 2016a.
    """

    def __init__(
        self,
        output_channels: int,
        filters: int,
        num_layers: int,
        layer: str = "diagonal_bilstm",
        first_kernel_size: int = 7,
        kernel_size: int = 3,
        output_layers: int = 2,
        colors: int = 1,
        residual_connections: bool = True,
        weight_normalization: bool = True,
        conditional_on_maps: bool = False,
        num_classes: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if layer not in CELLS:
            raise ValueError(f"layer={layer!r}: choose one of {', '.join(CELLS)}")
        self.output_channels = output_channels
        self.filters = filters
        self.num_layers = num_layers
        self.layer = layer
        self.first_kernel_size = first_kernel_size
        self.kernel_size = kernel_size
        self.output_layers = output_layers
        self.colors = colors
        self.residual_connections = residual_connections
        self.weight_normalization = weight_normalization
        self.conditional_on_maps = conditional_on_maps
        self.num_classes = num_classes
        width = 2 * filters
        plain = {"weight_normalization": weight_normalization, "dtype": self.dtype_policy}
        masked = {"colors": colors, **plain}
        self.first = MaskedConv2D(width, first_kernel_size, "A", name="first", **masked)
        self.maps_conv = maps_convolution(width, conditional_on_maps, **plain)
        self.blocks = [
            CELLS[layer](filters, kernel_size, residual=residual_connections, name=f"block_{index}", **masked)
            for index in range(num_layers - 1)
        ]
        of_relu = {"stack": "horizontal", "kernel_initializer": "he_uniform", **masked}
        self.output_convs = [
            MaskedConv2D(width, 1, "B", use_bias=False, name=f"output_{index}", **of_relu)
            for index in range(output_layers)
        ]
        sizes = [block.num_biases for block in self.blocks] + [width] * output_layers
        self.biases = UnitBiases(sizes, num_classes=num_classes, name="biases", **plain)
        self.logits_conv = MaskedConv2D(output_channels, 1, "B", stack="horizontal", name="logits", **masked)

    def build(self, features_shape, z_shape=None, maps_shape=None):
        maps = (*features_shape[:-1], 2 * self.filters)
        self.first.build(features_shape)
        for layer in (*self.blocks, *self.output_convs, self.logits_conv):
            layer.build(maps)
        self.biases.build(z_shape)
        build_maps_convolution(self.maps_conv, maps_shape)

    @property
    def residual_blocks(self) -> tuple[int, int]:
        """Number of LSTM layers, and of the units inside each. Dropout acts on these units."""
        return len(self.blocks), CELLS[self.layer].directions * self.filters

    def call(self, features, z=None, maps=None, dropout=None, label=None):
        biases = self.biases(z, label)
        hidden = self.first(features)
        if maps is not None:
            hidden = hidden + self.maps_conv(maps)
        for index, block in enumerate(self.blocks):
            dropped = (dropout[index],) if dropout else ()
            hidden = block(hidden, biases[index], *dropped)
        for conv, bias in zip(self.output_convs, biases[len(self.blocks) :], strict=True):
            hidden = conv(ops.relu(hidden)) + bias
        return self.logits_conv(ops.relu(hidden))

    def incremental(self, z=None, maps=None, label=None) -> PixelRNNSteps:
        """Returns the network's steps, for features in the order of generation, with the call's z, maps or label."""
        return PixelRNNSteps(self, z, maps, label)

    def get_config(self):
        return {
            **super().get_config(),
            "output_channels": self.output_channels,
            "filters": self.filters,
            "num_layers": self.num_layers,
            "layer": self.layer,
            "first_kernel_size": self.first_kernel_size,
            "kernel_size": self.kernel_size,
            "output_layers": self.output_layers,
            "colors": self.colors,
            "residual_connections": self.residual_connections,
            "weight_normalization": self.weight_normalization,
            "conditional_on_maps": self.conditional_on_maps,
            "num_classes": self.num_classes,
        }


class PixelRNNSteps:
    """A `PixelRNN` in two steps: one for what it sees of the rows above, one for what it sees of the current row."""

    def __init__(self, network: PixelRNN, z=None, maps=None, label=None):
        biases = [bias[:, 0, 0] for bias in network.biases(z, label)]
        count = len(network.blocks)
        self.first = network.first.incremental()
        self.blocks = [block.incremental(bias) for block, bias in zip(network.blocks, biases[:count], strict=True)]
        self.outputs = [conv.incremental() for conv in network.output_convs]
        self.output_biases = [conv.by_color(bias) for conv, bias in zip(self.outputs, biases[count:], strict=True)]
        self.logits = network.logits_conv.incremental()
        self.maps = None if maps is None else ops.transpose(network.maps_conv(maps), (1, 2, 0, 3))

    def start_rows(self, columns, batch):
        return [layer.start_rows(columns, batch) for layer in (self.first, *self.blocks)]

    def row(self, caches, row, features, finished):
        caches, first = list(caches), None
        caches[0], first = self.first.row(caches[0], features)
        from_above = [self.first.by_color(first if self.maps is None else first + self.maps[row])]
        for index, block in enumerate(self.blocks, start=1):
            caches[index], of_block = block.row(caches[index], row, finished[index - 1])
            from_above.append(of_block)
        return caches, from_above

    def start_pixels(self, batch):
        return [layer.start_pixels(batch) for layer in (self.first, *self.blocks, *self.outputs, self.logits)]

    def pixel(self, windows, from_above, newest, color: int):
        windows = list(windows)
        windows[0], hidden = self.first.pixel(windows[0], newest, color, from_above[0])
        for index, block in enumerate(self.blocks, start=1):
            windows[index], hidden = block.pixel(windows[index], hidden, from_above[index], color)
        for index, (conv, biases) in enumerate(
            zip(self.outputs, self.output_biases, strict=True), start=1 + len(self.blocks)
        ):
            windows[index], hidden = conv.pixel(windows[index], ops.relu(hidden), color)
            hidden = hidden + biases[color]
        windows[-1], outputs = self.logits.pixel(windows[-1], ops.relu(hidden), color)
        return windows, outputs

    def finished(self, windows) -> list:
        return [
            block.finished(window) for block, window in zip(self.blocks, windows[1 : 1 + len(self.blocks)], strict=True)
        ]
