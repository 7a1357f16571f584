"""The autoregressive network of the decoder: p(x | z) as a product over pixels (equation 1)."""

from __future__ import annotations

import keras
from keras import ops

from pixelvae_tf.layers.conditioning import UnitBiases, build_maps_convolution, maps_convolution
from pixelvae_tf.layers.masked_block import MaskedBlock
from pixelvae_tf.layers.masked_conv import MaskedConv2D
from pixelvae_tf.layers.units import apply_unit, kernel_initializer, parts_of


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class PixelCNN(keras.layers.Layer):
    """Masked blocks, masked 1x1 layers, and logits; conditional on a latent vector, on maps, on a class, or on none.

    >>> import numpy
    >>> network = PixelCNN(output_channels=1, filters=4, num_layers=2, first_kernel_size=3, kernel_size=3)
    >>> image, z = numpy.zeros((1, 4, 4, 1), "float32"), numpy.ones((1, 2), "float32")
    >>> changed = image.copy()
    >>> changed[0, 2, 1] = 1.0
    >>> difference = numpy.abs(numpy.asarray(network(changed, z) - network(image, z)))[0, :, :, 0]
    >>> bool(difference[:2].any() or difference[2, :2].any()), bool(difference[2:].any())  # before it, and after
    (False, True)

    A latent vector shifts the bias of every unit of both stacks. Maps (z after upsampling) enter the units of the first
    block through a 1x1 convolution. It needs no mask, because the maps hold no pixel. A class shifts the bias of every
    unit, as a latent vector does.

    Args:
        output_channels: units of the result, those of one color side by side.
        filters: feature maps of each stack.
        num_layers: masked blocks, the first one (mask A) included.
        first_kernel_size, kernel_size: kernel sides of the first and of the other blocks.
        output_layers: masked 1x1 layers before the result.
        colors: colors of a pixel, generated in order.
        activation: "gated" or "relu".
        weight_normalization: see `weight_norm`.
        conditional_on_maps: whether the call gets `maps`.
        num_classes: classes of the images, for a call that gets a `label`; 0 for one without.

    Call: `features` (batch, height, width, channels) of the image; `z` (batch, dimensions) or None; `maps`
    (batch, height, width, maps) or None; `dropout`, factors for each of `residual_blocks`, or None; `label` (batch,)
    integers 0..classes-1, or None. Returns (batch, height, width, output_channels).

    Dropout acts only on the horizontal stack, in the blocks with a residual connection. Everything that reaches the
    logits passes through there. The vertical stack has no residual connections, so the noise of its blocks would
    multiply.

    Source: sections 3 and 4.1 of the paper; van den Oord et al. 2016b.
    """

    def __init__(
        self,
        output_channels: int,
        filters: int,
        num_layers: int,
        first_kernel_size: int = 7,
        kernel_size: int = 5,
        output_layers: int = 2,
        colors: int = 1,
        activation: str = "gated",
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
        self.activation = activation
        self.weight_normalization = weight_normalization
        self.conditional_on_maps = conditional_on_maps
        self.num_classes = num_classes
        self.unit_inputs = filters * parts_of(activation)
        plain = {"weight_normalization": weight_normalization, "dtype": self.dtype_policy}
        masked = {"colors": colors, **plain}
        self.blocks = [self._block(index, masked) for index in range(num_layers)]
        self.output_convs = [self._output_conv(index, masked) for index in range(output_layers)]
        sizes = [self.unit_inputs] * (2 * num_layers + output_layers)
        self.biases = UnitBiases(sizes, num_classes=num_classes, name="biases", **plain)
        self.maps_conv = maps_convolution(2 * self.unit_inputs, conditional_on_maps, **plain)
        self.logits_conv = MaskedConv2D(output_channels, 1, "B", stack="horizontal", name="logits", **masked)

    def _block(self, index: int, masked: dict) -> MaskedBlock:
        """Makes a block. The first one has mask A and its own kernel size."""
        size, mask_type = (self.kernel_size, "B") if index else (self.first_kernel_size, "A")
        name = f"block_{index}"
        return MaskedBlock(self.filters, size, mask_type, activation=self.activation, name=name, **masked)

    def _output_conv(self, index: int, masked: dict) -> MaskedConv2D:
        return MaskedConv2D(
            self.unit_inputs,
            1,
            "B",
            stack="horizontal",
            parts=parts_of(self.activation),
            use_bias=False,
            kernel_initializer=kernel_initializer(self.activation),
            name=f"output_{index}",
            **masked,
        )

    def build(self, features_shape, z_shape=None, maps_shape=None):
        maps = (*features_shape[:-1], self.filters)
        for index, block in enumerate(self.blocks):
            block.build(maps if index else features_shape)
        for conv in (*self.output_convs, self.logits_conv):
            conv.build(maps)
        self.biases.build(z_shape)
        build_maps_convolution(self.maps_conv, maps_shape)

    @property
    def residual_blocks(self) -> tuple[int, int]:
        """Blocks with a residual connection, and the feature maps inside each. Dropout acts on these maps."""
        return max(0, len(self.blocks) - 1), self.filters

    def call(self, features, z=None, maps=None, dropout=None, label=None):
        biases = self.biases(z, label)
        if maps is not None:
            from_maps = ops.split(self.maps_conv(maps), 2, axis=-1)
            biases[:2] = [bias + shift for bias, shift in zip(biases[:2], from_maps, strict=True)]
        vertical = horizontal = features
        for index, block in enumerate(self.blocks):
            dropped = (dropout[index - 1],) if dropout and index else ()
            vertical, horizontal = block(vertical, horizontal, *biases[2 * index : 2 * index + 2], *dropped)
        for conv, bias in zip(self.output_convs, biases[2 * len(self.blocks) :], strict=True):
            horizontal = apply_unit(self.activation, bias, conv(horizontal))
        return self.logits_conv(horizontal)

    def incremental(self, z=None, maps=None, label=None) -> PixelCNNSteps:
        """Returns the network's steps, for features in the order of generation, with the call's z, maps or label."""
        return PixelCNNSteps(self, z, maps, label)

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
            "activation": self.activation,
            "weight_normalization": self.weight_normalization,
            "conditional_on_maps": self.conditional_on_maps,
            "num_classes": self.num_classes,
        }


class PixelCNNSteps:
    """A `PixelCNN` whose vertical stacks advance a row at a time and whose horizontal stacks a color at a time."""

    def __init__(self, network: PixelCNN, z=None, maps=None, label=None):
        self.activation = network.activation
        self.blocks = [block.incremental() for block in network.blocks]
        self.outputs = [conv.incremental() for conv in network.output_convs]
        self.logits = network.logits_conv.incremental()
        # For a row: (1, batch, units), or (1, 1, units) without z and label.
        biases = [bias[None, :, 0, 0] for bias in network.biases(z, label)]
        self.block_biases = biases[: 2 * len(self.blocks)]
        self.output_biases = [
            conv.by_color(bias[0]) for conv, bias in zip(self.outputs, biases[2 * len(self.blocks) :], strict=True)
        ]
        self.maps = None if maps is None else ops.transpose(network.maps_conv(maps), (1, 2, 0, 3))

    def start_rows(self, columns, batch):
        return [block.start_rows(columns, batch) for block in self.blocks]

    def row(self, caches, row, features, finished):
        biases = list(self.block_biases)
        if self.maps is not None:
            from_maps = ops.split(self.maps[row], 2, axis=-1)
            biases[:2] = [bias + shift for bias, shift in zip(biases[:2], from_maps, strict=True)]
        caches, from_above, vertical = list(caches), [], features
        for index, block in enumerate(self.blocks):
            pair = biases[2 * index : 2 * index + 2]
            caches[index], vertical, entering = block.row(caches[index], vertical, *pair)
            from_above.append(entering)
        return caches, from_above

    def start_pixels(self, batch):
        return [layer.start_pixels(batch) for layer in (*self.blocks, *self.outputs, self.logits)]

    def pixel(self, windows, from_above, newest, color: int):
        windows, horizontal = list(windows), newest
        for index, block in enumerate(self.blocks):
            windows[index], horizontal = block.pixel(windows[index], horizontal, from_above[index], color)
        for index, (conv, biases) in enumerate(zip(self.outputs, self.output_biases, strict=True), len(self.blocks)):
            windows[index], maps = conv.pixel(windows[index], horizontal, color)
            horizontal = apply_unit(self.activation, biases[color], maps)
        windows[-1], outputs = self.logits.pixel(windows[-1], horizontal, color)
        return windows, outputs

    def finished(self, windows) -> tuple:
        return ()
