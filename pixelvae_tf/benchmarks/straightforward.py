"""A straightforward implementation of the masked stacks, for comparison. It computes the same function as `PixelCNN`.

It multiplies whole kernels by their masks, pads them on all sides, gives every gate its own linear layer for z, and
differentiates tanh and sigmoid automatically. It only trains: it cannot be saved or sampled from.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from pixelvae_tf.layers import masks
from pixelvae_tf.layers.conditioning import build_maps_convolution, maps_convolution
from pixelvae_tf.layers.units import parts_of
from pixelvae_tf.layers.weight_norm import Conv2D, Dense


class FullConv(Conv2D):
    """A convolution with a whole kernel times its mask; see `MaskedConv2D` for the arguments."""

    def __init__(self, filters, kernel_size, mask_type, stack, colors=1, parts=1, **kwargs):
        super().__init__(filters, kernel_size, padding="same", **kwargs)
        self.rule = {"mask_type": mask_type, "stack": stack}
        self.colors, self.parts = colors, parts

    def build(self, input_shape):
        inputs = masks.color_of_channel(input_shape[-1], self.colors)
        outputs = masks.color_of_channel(self.filters, self.colors, self.parts)
        self.mask = masks.causal_mask(self.kernel_size, inputs, outputs, **self.rule)
        super().build(input_shape)

    def visible_kernel(self, kernel):
        return kernel * ops.cast(self.mask, kernel.dtype)

    def take_weights(self, conv) -> None:
        """Copies the weights of a `MaskedConv2D`, which has only the visible part of the kernel."""
        kernel = np.zeros(self.kernel.shape, "float32")
        kernel[masks.visible_box(self.mask)] = conv.kernel.numpy()
        given = {"kernel": kernel, "gain": conv.gain, "bias": conv.bias if conv.use_bias else None}
        for name, value in given.items():
            if value is not None:
                getattr(self, name).assign(value)


class Unit(keras.layers.Layer):
    """tanh(a + W z) * sigmoid(b + V z), or a ReLU, with its own linear layer for z."""

    def __init__(self, activation: str, units: int, weight_normalization: bool, **kwargs):
        super().__init__(**kwargs)
        self.gated = activation == "gated"
        self.units = units
        self.linear = Dense(units, weight_normalization=weight_normalization, dtype=self.dtype_policy)

    def build(self, z_shape=None):
        if z_shape is None:
            self.linear = None
            self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")
        else:
            self.linear.build(z_shape)

    def call(self, maps, z=None):
        maps = maps + (self.bias if self.linear is None else self.linear(z)[:, None, None])
        if not self.gated:
            return ops.relu(maps)
        signal, gates = ops.split(maps, 2, axis=-1)
        return ops.tanh(signal) * ops.sigmoid(gates)


class Block(keras.layers.Layer):
    """See `MaskedBlock`."""

    def __init__(self, filters, kernel_size, mask_type, activation, unit, shared, **kwargs):
        super().__init__(dtype=shared["dtype"], **kwargs)
        self.mask_type = mask_type
        parts = parts_of(activation)
        own = {"filters": filters * parts, "mask_type": mask_type, "parts": parts, "use_bias": False, **shared}
        self.vertical = FullConv(kernel_size=(kernel_size, kernel_size), stack="vertical", **own)
        self.horizontal = FullConv(kernel_size=(1, kernel_size), stack="horizontal", **own)
        self.link = FullConv(kernel_size=(1, 1), stack="vertical", **{**own, "mask_type": "B"})
        self.output_conv = FullConv(filters, (1, 1), "B", "horizontal", **shared)
        self.vertical_unit, self.horizontal_unit = unit(), unit()

    def call(self, vertical, horizontal, z=None, from_maps=None):
        vertical_maps = self.vertical(vertical)
        horizontal_maps = self.horizontal(horizontal) + self.link(vertical_maps)
        if from_maps is not None:
            vertical_maps, horizontal_maps = vertical_maps + from_maps[0], horizontal_maps + from_maps[1]
        outputs = self.output_conv(self.horizontal_unit(horizontal_maps, z))
        outputs = horizontal + outputs if self.mask_type == "B" else outputs
        return self.vertical_unit(vertical_maps, z), outputs


class StraightforwardPixelCNN(keras.layers.Layer):
    """The counterpart of `PixelCNN`, with the same arguments and the same call."""

    def __init__(
        self,
        output_channels,
        filters,
        num_layers,
        first_kernel_size=7,
        kernel_size=5,
        output_layers=2,
        colors=1,
        activation="gated",
        weight_normalization=True,
        conditional_on_maps=False,
        num_classes=0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if num_classes:
            raise ValueError(f"num_classes={num_classes}: this network takes no labels")
        plain = {"weight_normalization": weight_normalization, "dtype": self.dtype_policy}
        shared, parts = {"colors": colors, **plain}, parts_of(activation)

        def unit():
            return Unit(activation, filters * parts, **plain)

        sides = [first_kernel_size] + [kernel_size] * (num_layers - 1)
        self.blocks = [
            Block(filters, side, "B" if index else "A", activation, unit, shared, name=f"block_{index}")
            for index, side in enumerate(sides)
        ]
        # No layer reads its output.
        self.blocks[-1].vertical_unit.trainable = False
        self.output_convs = [
            FullConv(filters * parts, (1, 1), "B", "horizontal", parts=parts, use_bias=False, **shared)
            for _ in range(output_layers)
        ]
        self.output_units = [unit() for _ in range(output_layers)]
        self.maps_conv = maps_convolution(2 * filters * parts, conditional_on_maps, **plain)
        self.logits_conv = FullConv(output_channels, (1, 1), "B", "horizontal", **shared)
        self.filters = filters

    @property
    def units(self) -> list[Unit]:
        """All units, in the order of `PixelCNN`'s biases."""
        of_blocks = [unit for block in self.blocks for unit in (block.vertical_unit, block.horizontal_unit)]
        return of_blocks + self.output_units

    def build(self, features_shape, z_shape=None, maps_shape=None):
        maps = (*features_shape[:-1], self.filters)
        for index, block in enumerate(self.blocks):
            for conv in (block.vertical, block.horizontal):
                conv.build(maps if index else features_shape)
            block.link.build((*maps[:-1], block.link.filters))
            block.output_conv.build(maps)
            block.built = True
        for conv in (*self.output_convs, self.logits_conv):
            conv.build(maps)
        for unit in self.units:
            unit.build(z_shape)
        build_maps_convolution(self.maps_conv, maps_shape)

    def call(self, features, z=None, maps=None):
        from_maps = None if maps is None else ops.split(self.maps_conv(maps), 2, axis=-1)
        vertical, horizontal = self.blocks[0](features, features, z, from_maps)
        for block in self.blocks[1:]:
            vertical, horizontal = block(vertical, horizontal, z)
        for conv, unit in zip(self.output_convs, self.output_units, strict=True):
            horizontal = unit(conv(horizontal), z)
        return self.logits_conv(horizontal)

    def take_weights(self, network) -> None:
        """Copies the weights of a `PixelCNN` with the same arguments."""
        convs = [(self.logits_conv, network.logits_conv), *zip(self.output_convs, network.output_convs, strict=True)]
        for own, block in zip(self.blocks, network.blocks, strict=True):
            convs += [(own.vertical, block.vertical_conv), (own.horizontal, block.horizontal_conv)]
            convs += [(own.link, block.link), (own.output_conv, block.output_conv)]
        for own, conv in convs:
            own.take_weights(conv)
        if self.maps_conv is not None:
            self.maps_conv.set_weights(network.maps_conv.get_weights())
        # There one linear layer serves all units. Here each unit gets its own columns.
        biases = network.biases if network.biases.linear is None else network.biases.linear
        columns = [np.split(weight, len(self.units), axis=-1) for weight in biases.get_weights()]
        for unit, weights in zip(self.units, zip(*columns, strict=True), strict=True):
            (unit if unit.linear is None else unit.linear).set_weights(list(weights))


def take_weights(model, other) -> None:
    """Copies the weights of `other` to a model of the same configuration with straightforward networks."""
    layers = [layer for layer in (model.pixel_input, model.encoder) if layer is not None]
    others = [layer for layer in (other.pixel_input, other.encoder) if layer is not None]
    for decoder, given in zip(decoders_of(model), decoders_of(other), strict=True):
        if isinstance(decoder.masked, StraightforwardPixelCNN):
            decoder.masked.take_weights(given.masked)
            layers, others = [*layers, decoder.upsampler], [*others, given.upsampler]
        else:
            layers, others = [*layers, decoder], [*others, given]
    for layer, given in zip(layers, others, strict=True):
        if layer is not None:
            layer.set_weights(given.get_weights())


def decoders_of(model) -> list:
    """Returns the decoders of the pixels and of all levels of latents below the topmost."""
    return [model.pixel_decoder, *model.latent_decoders]
