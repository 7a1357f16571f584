"""One layer of a PixelCNN without a blind spot: a vertical and a horizontal stack that advance together."""

from __future__ import annotations

import keras

from pixelvae_tf.layers.masked_conv import MaskedConv2D
from pixelvae_tf.layers.units import apply_unit, initializer_after_relu, kernel_initializer, parts_of


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class MaskedBlock(keras.layers.Layer):
    """A vertical and a horizontal masked convolution, joined, each followed by its unit.

    The vertical stack sees whole rows above the current one, the horizontal stack the pixels to the left in the
    current row. Together they see every earlier pixel (Figure 2 of van den Oord et al. 2016b). The vertical maps
    enter the horizontal stack before their unit, through a 1x1 convolution.

    The paper's network shifts the vertical maps down a row at every layer. Here the shift happens once: the first
    layer's vertical mask is of type A (rows above the current one). So row r of all vertical maps depends only on image
    rows before r and needs no further shift.

    Args:
        filters: feature maps of each stack.
        kernel_size: side of the vertical kernel and length of the horizontal one, odd.
        mask_type: "A" for the first layer, which sees the image, "B" for the others.
        colors: colors of a pixel, generated in order.
        activation: "gated" or "relu".
        weight_normalization: see `weight_norm`.

    Call: vertical (batch, height, width, inputs), horizontal of the same shape, and the biases of both units,
    which broadcast against (batch, height, width, filters * parts_of(activation)). Returns both stacks' maps,
    (batch, height, width, filters). A type B block adds its horizontal input to its horizontal output. `dropout`, of
    the same shape (see `dropout.replica_factors`), multiplies the horizontal unit's output.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        mask_type: str,
        colors: int = 1,
        activation: str = "gated",
        weight_normalization: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.mask_type = mask_type
        self.colors = colors
        self.activation = activation
        self.weight_normalization = weight_normalization
        shared = {
            "colors": colors,
            "weight_normalization": weight_normalization,
            "kernel_initializer": kernel_initializer(activation),
            "dtype": self.dtype_policy,
        }
        parts = parts_of(activation)
        # The caller passes the units' biases, including z's shift of them.
        unit_input = {"filters": filters * parts, "parts": parts, "use_bias": False, **shared}
        self.vertical_conv = MaskedConv2D(
            kernel_size=kernel_size, mask_type=mask_type, stack="vertical", name="vertical", **unit_input
        )
        self.horizontal_conv = MaskedConv2D(
            kernel_size=(1, kernel_size), mask_type=mask_type, stack="horizontal", name="horizontal", **unit_input
        )
        # Vertical maps do not depend on the current row, so every color may see all of them.
        self.link = MaskedConv2D(kernel_size=1, mask_type="B", stack="vertical", name="link", **unit_input)
        self.output_conv = MaskedConv2D(
            filters,
            1,
            "B",
            stack="horizontal",
            name="output",
            **(shared if activation == "gated" else {**shared, "kernel_initializer": initializer_after_relu()}),
        )

    def build(self, vertical_shape, horizontal_shape=None):
        maps = (*vertical_shape[:-1], self.filters)
        parts = parts_of(self.activation)
        self.vertical_conv.build(vertical_shape)
        self.horizontal_conv.build(horizontal_shape or vertical_shape)
        self.link.build((*maps[:-1], self.filters * parts))
        self.output_conv.build(maps)

    def call(self, vertical, horizontal, vertical_bias, horizontal_bias, dropout=None):
        vertical_maps = self.vertical_conv(vertical)
        horizontal_maps = (self.horizontal_conv(horizontal), self.link(vertical_maps))
        units = apply_unit(self.activation, horizontal_bias, *horizontal_maps)
        if dropout is not None:
            units = units * dropout
        outputs = self.output_conv(units)
        if self.mask_type == "B":
            outputs = horizontal + outputs
        return apply_unit(self.activation, vertical_bias, vertical_maps), outputs

    def incremental(self) -> BlockSteps:
        """Returns the block's steps, for inputs that arrive in the order of generation."""
        return BlockSteps(self)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "mask_type": self.mask_type,
            "colors": self.colors,
            "activation": self.activation,
            "weight_normalization": self.weight_normalization,
        }


class BlockSteps:
    """The steps of a `MaskedBlock`.

    The vertical stack advances by rows, the horizontal stack by colors of pixels. The link between them is one product
    per row.
    """

    def __init__(self, block: MaskedBlock):
        self.block = block
        self.vertical = block.vertical_conv.incremental()
        self.link = block.link.incremental()
        self.horizontal = block.horizontal_conv.incremental()
        self.output = block.output_conv.incremental()

    def start_rows(self, columns, batch):
        return self.vertical.start_rows(columns, batch)

    def row(self, cache, newest, vertical_bias, horizontal_bias):
        """Advances the vertical stack by one row.

        Args:
            cache: from `start_rows`, or from the step before.
            newest: (columns, batch, inputs), the newest row of the vertical stack's input.
            vertical_bias, horizontal_bias: the units' biases; they broadcast to (columns, batch, filters * parts).

        Returns:
            The next cache, the vertical maps (columns, batch, filters), and for each color the contribution of the rows
            above to the horizontal units (columns, batch, maps of the color).
        """
        cache, maps = self.vertical.row(cache, newest)
        _, linked = self.link.row((), maps)
        from_above = self.horizontal.by_color(linked + horizontal_bias)
        return cache, apply_unit(self.block.activation, vertical_bias, maps), from_above

    def start_pixels(self, batch):
        return self.horizontal.start_pixels(batch), self.output.start_pixels(batch)

    def pixel(self, windows, newest, from_above, color: int):
        """Advances the horizontal stack by one color of a pixel.

        Args:
            windows: from `start_pixels`, or from the step before.
            newest: (batch, inputs of a color), the newest color of the horizontal stack's input.
            from_above: the result of `row` for this pixel, color by color.
            color: number of the current color.

        Returns:
            The next windows, and the horizontal maps (batch, filters of the color).
        """
        inner, outer = windows
        inner, maps = self.horizontal.pixel(inner, newest, color)
        outer, outputs = self.output.pixel(outer, apply_unit(self.block.activation, from_above[color], maps), color)
        return (inner, outer), newest + outputs if self.block.mask_type == "B" else outputs
