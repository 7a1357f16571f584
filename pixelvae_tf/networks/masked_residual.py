"""The masked network of the paper's code for natural images: residual blocks over one raster stack.

Stacked raster masks have a blind spot: pixels to the upper right that no path of masked kernels reaches. It is kept
here to reproduce the paper's configuration; `PixelCNN` has none and is the default.
"""

from __future__ import annotations

import keras
from keras import ops

from pixelvae_tf.layers.masked_conv import MaskedConv2D
from pixelvae_tf.layers.weight_norm import Conv2D


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class MaskedResidualBlock(keras.layers.Layer):
    """ELU, two masked convolutions a and b, sigmoid(a) * tanh(b), a masked convolution, and the identity around them.

    Args:
        filters: feature maps, in and out.
        kernel_size: side of the masked kernels, odd.
        colors: colors of a pixel, generated in order.
        weight_normalization: see `weight_norm`.

    Shapes: (batch, height, width, filters) to the same.
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

    def call(self, maps):
        gate, signal = ops.split(self.gates(ops.elu(maps)), 2, axis=-1)
        return maps + self.output_conv(ops.sigmoid(gate) * ops.tanh(signal))

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "colors": self.colors,
            "weight_normalization": self.weight_normalization,
        }


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class MaskedResidualNetwork(keras.layers.Layer):
    """A mask A convolution, masked residual blocks, and a masked 1x1 convolution to the result.

    Maps (z after upsampling) are added after the first convolution, unmasked. The sum is halved, so that its variance
    is that of either part.

    Args:
        output_channels: units of the result, those of one color side by side.
        filters: feature maps.
        num_layers: masked layers, the first one (mask A) included.
        first_kernel_size, kernel_size: kernel sides of the first layer and of the blocks.
        output_layers: masked residual blocks of 1x1 before the result.
        colors: colors of a pixel, generated in order.
        weight_normalization: see `weight_norm`.

    Call: `features` (batch, height, width, channels) of what is generated; `maps` (batch, height, width, maps) or
    None. Returns (batch, height, width, output_channels).
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
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.settings = {
            "output_channels": output_channels,
            "filters": filters,
            "num_layers": num_layers,
            "first_kernel_size": first_kernel_size,
            "kernel_size": kernel_size,
            "output_layers": output_layers,
            "colors": colors,
            "weight_normalization": weight_normalization,
        }
        plain = {"weight_normalization": weight_normalization, "dtype": self.dtype_policy}
        masked = {"colors": colors, **plain}
        self.first = MaskedConv2D(filters, first_kernel_size, "A", name="first", **masked)
        self.maps_conv = Conv2D(filters, 1, use_bias=False, name="maps", **plain)
        sides = [kernel_size] * (num_layers - 1) + [1] * output_layers
        self.blocks = [
            MaskedResidualBlock(filters, side, name=f"block_{index}", **masked) for index, side in enumerate(sides)
        ]
        self.result = MaskedConv2D(output_channels, 1, "B", name="result", **masked)

    def build(self, features_shape, maps_shape=None):
        maps = (*features_shape[:-1], self.settings["filters"])
        self.first.build(features_shape)
        if maps_shape is None:
            self.maps_conv = None
        else:
            self.maps_conv.build(maps_shape)
        for layer in (*self.blocks, self.result):
            layer.build(maps)

    def call(self, features, maps=None):
        hidden = self.first(features)
        if maps is not None:
            hidden = 0.5 * (hidden + self.maps_conv(maps))
        for block in self.blocks:
            hidden = block(hidden)
        return self.result(ops.elu(hidden))

    def get_config(self):
        return {**super().get_config(), **self.settings}
