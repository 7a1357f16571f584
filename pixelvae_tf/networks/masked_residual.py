"""The masked network of the paper's code for natural images: residual blocks over one raster stack.

Stacked raster masks have a blind spot: no path of masked kernels reaches some pixels to the upper right. This network
keeps it, to reproduce the paper's configuration. `PixelCNN` has no blind spot and is the default.
"""

from __future__ import annotations

import keras
from keras import ops

from pixelvae_tf.layers.conditioning import ClassBiases, build_maps_convolution, check_label, maps_convolution
from pixelvae_tf.layers.masked_conv import MaskedConv2D


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class MaskedResidualBlock(keras.layers.Layer):
    """ELU, two masked convolutions a and b, sigmoid(a) * tanh(b), a masked convolution, and the identity around them.

    Args:
        filters: feature maps, in and out.
        kernel_size: side of the masked kernels, odd.
        colors: colors of a pixel, generated in order.
        weight_normalization: see `weight_norm`.

    Shapes: (batch, height, width, filters) to the same. `dropout`, of that shape (see `dropout.replica_factors`),
    multiplies the input of the last convolution. `bias`, (batch, 1, 1, 2 * filters), is added in the gates.
    """

    def __init__(
        self, filters: int, kernel_size: int = 3, colors: int = 1, weight_normalization: bool = True, **kwargs
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.colors = colors
        self.weight_normalization = weight_normalization
        shared = {"colors": colors, "weight_normalization": weight_normalization, "dtype": self.dtype_policy}
        self.gates = MaskedConv2D(2 * filters, kernel_size, "B", parts=2, name="gates", **shared)
        self.output_conv = MaskedConv2D(filters, kernel_size, "B", name="output", **shared)

    def build(self, input_shape):
        for conv in (self.gates, self.output_conv):
            conv.build(input_shape)

    def call(self, maps, dropout=None, bias=None):
        gates = self.gates(ops.elu(maps))
        gate, signal = ops.split(gates if bias is None else gates + bias, 2, axis=-1)
        units = ops.sigmoid(gate) * ops.tanh(signal)
        return maps + self.output_conv(units if dropout is None else units * dropout)

    def incremental(self, bias=None) -> ResidualBlockSteps:
        """Returns the block's steps, for inputs that arrive in the order of generation; the bias has no positions."""
        return ResidualBlockSteps(self, bias)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "colors": self.colors,
            "weight_normalization": self.weight_normalization,
        }


class ResidualBlockSteps:
    """A `MaskedResidualBlock` in two steps: one for the rows above, one for the current row."""

    def __init__(self, block: MaskedResidualBlock, bias=None):
        self.gates = block.gates.incremental()
        self.output = block.output_conv.incremental()
        self.bias = None if bias is None else self.gates.by_color(bias)

    def start_rows(self, columns, batch):
        return self.gates.start_rows(columns, batch), self.output.start_rows(columns, batch)

    def row(self, caches, newest):
        """Computes what both convolutions see of the rows above, by color; `newest` is `finished` of the last row."""
        if not newest:
            return caches, ()
        steps = (self.gates, self.output)
        caches, maps = zip(*(conv.row(*given) for conv, *given in zip(steps, caches, newest, strict=True)), strict=True)
        return caches, tuple(conv.by_color(of_conv) for conv, of_conv in zip(steps, maps, strict=True))

    def start_pixels(self, batch):
        return self.gates.start_pixels(batch), self.output.start_pixels(batch)

    def pixel(self, windows, newest, from_above, color: int):
        """Computes one color of a pixel from `newest`, both (batch, filters of the color)."""
        inner, outer = windows
        above_gates, above_output = from_above or (None, None)
        inner, gates = self.gates.pixel(inner, ops.elu(newest), color, above_gates)
        gates = gates if self.bias is None else gates + self.bias[color]
        gate, signal = ops.split(gates, 2, axis=-1)
        outer, outputs = self.output.pixel(outer, ops.sigmoid(gate) * ops.tanh(signal), color, above_output)
        return (inner, outer), newest + outputs

    def finished(self, windows) -> tuple:
        """Returns the inputs of both convolutions at a pixel, after its last color; () if no other row sees them."""
        if not self.gates.rows:
            return ()
        return self.gates.finished(windows[0]), self.output.finished(windows[1])


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class MaskedResidualNetwork(keras.layers.Layer):
    """A mask A convolution, masked residual blocks, and a masked 1x1 convolution to the result.

    Maps (z after upsampling) pass a 1x1 convolution without a mask, and are averaged with the first convolution's
    result. A class shifts the biases of all gates.

    Args:
        output_channels: units of the result, those of one color side by side.
        filters: feature maps.
        num_layers: masked layers, the first one (mask A) included.
        first_kernel_size, kernel_size: kernel sides of the first layer and of the blocks.
        output_layers: masked residual blocks of 1x1 before the result.
        colors: colors of a pixel, generated in order.
        weight_normalization: see `weight_norm`.
        conditional_on_maps: whether the call gets `maps`.
        num_classes: classes of the images, for a call that gets a `label`; 0 for one without.

    Call: `features` (batch, height, width, channels) of what is generated; `maps` (batch, height, width, maps) or
    None; `dropout`, factors for each of `residual_blocks`, or None; `label` (batch,) integers 0..classes-1, or None.
    Returns (batch, height, width, output_channels).
    """

    def __init__(
        self,
        output_channels: int,
        filters: int,
        num_layers: int,
        first_kernel_size: int = 5,
        kernel_size: int = 3,
        output_layers: int = 0,
        colors: int = 1,
        weight_normalization: bool = True,
        conditional_on_maps: bool = False,
        num_classes: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.output_channels = output_channels
        self.filters = filters
        self.num_layers = num_layers
        self.first_kernel_size = first_kernel_size
        self.kernel_size = kernel_size
        self.output_layers = output_layers
        self.colors = colors
        self.weight_normalization = weight_normalization
        self.conditional_on_maps = conditional_on_maps
        self.num_classes = num_classes
        plain = {"weight_normalization": weight_normalization, "dtype": self.dtype_policy}
        masked = {"colors": colors, **plain}
        self.first = MaskedConv2D(filters, first_kernel_size, "A", name="first", **masked)
        self.maps_conv = maps_convolution(filters, conditional_on_maps, **plain)
        sides = [kernel_size] * (num_layers - 1) + [1] * output_layers
        self.blocks = [
            MaskedResidualBlock(filters, side, name=f"block_{index}", **masked) for index, side in enumerate(sides)
        ]
        self.result = MaskedConv2D(output_channels, 1, "B", name="result", **masked)
        self.of_class = None
        if num_classes:
            sizes = [2 * filters] * len(self.blocks)
            self.of_class = ClassBiases(sizes, num_classes, name="of_class", dtype=self.dtype_policy)

    def build(self, features_shape, maps_shape=None):
        maps = (*features_shape[:-1], self.filters)
        self.first.build(features_shape)
        build_maps_convolution(self.maps_conv, maps_shape)
        for layer in (*self.blocks, self.result):
            layer.build(maps)
        if self.of_class is not None:
            self.of_class.build()

    @property
    def residual_blocks(self) -> tuple[int, int]:
        """Blocks with a residual connection, and the feature maps inside each. Dropout acts on these maps."""
        return len(self.blocks), self.filters

    def class_biases(self, label) -> list:
        """Returns the class's shift of each block's gates, (batch, 1, 1, 2 * filters); None without classes."""
        check_label(label, self.num_classes)
        return [None] * len(self.blocks) if self.of_class is None else self.of_class(label)

    def call(self, features, maps=None, dropout=None, label=None):
        hidden = self.first(features)
        if maps is not None:
            hidden = 0.5 * (hidden + self.maps_conv(maps))
        for index, (block, bias) in enumerate(zip(self.blocks, self.class_biases(label), strict=True)):
            # A recomputed block (`RematScope`) accepts only positional tensors.
            given = (dropout[index],) if dropout else ()
            if bias is not None:
                given = (*(given or (ops.ones((), hidden.dtype),)), bias)
            hidden = block(hidden, *given)
        return self.result(ops.elu(hidden))

    def incremental(self, maps=None, label=None) -> ResidualSteps:
        """Returns the network's steps, for features in the order of generation, with the call's maps and label."""
        return ResidualSteps(self, maps, label)

    def get_config(self):
        return {
            **super().get_config(),
            "output_channels": self.output_channels,
            "filters": self.filters,
            "num_layers": self.num_layers,
            "first_kernel_size": self.first_kernel_size,
            "kernel_size": self.kernel_size,
            "output_layers": self.output_layers,
            "colors": self.colors,
            "weight_normalization": self.weight_normalization,
            "conditional_on_maps": self.conditional_on_maps,
            "num_classes": self.num_classes,
        }


class ResidualSteps:
    """A `MaskedResidualNetwork` in two steps: one for the rows above, one for the current row."""

    def __init__(self, network: MaskedResidualNetwork, maps=None, label=None):
        self.first = network.first.incremental()
        biases = [None if bias is None else bias[:, 0, 0] for bias in network.class_biases(label)]
        self.blocks = [block.incremental(bias) for block, bias in zip(network.blocks, biases, strict=True)]
        self.result = network.result.incremental()
        self.maps = None if maps is None else ops.transpose(network.maps_conv(maps), (1, 2, 0, 3))

    def start_rows(self, columns, batch):
        return [layer.start_rows(columns, batch) for layer in (self.first, *self.blocks)]

    def row(self, caches, row, features, finished):
        cache, maps = self.first.row(caches[0], features)
        first = self.first.by_color(maps if self.maps is None else maps + self.maps[row])
        rows = [
            block.row(cache, newest) for block, cache, newest in zip(self.blocks, caches[1:], finished, strict=True)
        ]
        return [cache, *(cache for cache, _ in rows)], [first, *(from_above for _, from_above in rows)]

    def start_pixels(self, batch):
        return [layer.start_pixels(batch) for layer in (self.first, *self.blocks, self.result)]

    def pixel(self, windows, from_above, newest, color: int):
        windows = list(windows)
        windows[0], hidden = self.first.pixel(windows[0], newest, color, from_above[0])
        if self.maps is not None:
            hidden = 0.5 * hidden
        for index, block in enumerate(self.blocks, start=1):
            windows[index], hidden = block.pixel(windows[index], hidden, from_above[index], color)
        windows[-1], outputs = self.result.pixel(windows[-1], ops.elu(hidden), color)
        return windows, outputs

    def finished(self, windows) -> list:
        return [block.finished(window) for block, window in zip(self.blocks, windows[1:-1], strict=True)]
