"""The unmasked networks of section 4.1: the strided encoder and the upsampling decoder."""

from __future__ import annotations

import keras
from keras import ops

from pixelvae_tf.layers.weight_norm import Conv2D, Conv2DTranspose, Dense


def halved_sides(height: int, width: int, stages: int) -> list[tuple[int, int]]:
    """Sides of the maps after 0, 1, ... `stages` halvings, odd sides rounded up (28, 14, 7, 4)."""
    sides = [(height, width)]
    for _ in range(stages):
        sides.append(((sides[-1][0] + 1) // 2, (sides[-1][1] + 1) // 2))
    return sides


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class ConvEncoder(keras.layers.Layer):
    """Image features to the parameters of q(z1 | x), mean and log scale side by side.

    Each stage is a 3x3 convolution and one of stride 2, with ReLU; odd sides are padded below and to the right
    before halving. Two more 3x3 convolutions and a linear layer follow.

    Args:
        latent_channels: dimensions of z1.
        channels: feature maps after each stage, full resolution first.
        weight_normalization: see `weight_norm`.

    Shapes: (batch, height, width, inputs) to (batch, 2 * latent_channels).
    """

    def __init__(self, latent_channels: int, channels, weight_normalization: bool = True, **kwargs):
        super().__init__(**kwargs)
        self.latent_channels = latent_channels
        self.channels = tuple(channels)
        self.weight_normalization = weight_normalization
        shared = {"weight_normalization": weight_normalization, "dtype": self.dtype_policy}
        conv = {"kernel_size": 3, "padding": "same", "activation": "relu", **shared}
        before = (self.channels[0], *self.channels[:-1])
        self.stages = [
            (
                Conv2D(first, name=f"stage_{index}_conv", **conv),
                Conv2D(second, strides=2, name=f"stage_{index}_down", **conv),
            )
            for index, (first, second) in enumerate(zip(before, self.channels, strict=True))
        ]
        self.last = [Conv2D(self.channels[-1], name=f"last_{index}", **conv) for index in range(2)]
        self.parameters = Dense(2 * latent_channels, name="parameters", **shared)

    def build(self, input_shape):
        sides = halved_sides(*input_shape[1:3], len(self.channels))
        inputs = input_shape[-1]
        for (conv, down), (height, width) in zip(self.stages, sides[:-1], strict=True):
            conv.build((None, height, width, inputs))
            down.build((None, height, width, conv.filters))
            inputs = down.filters
        for conv in self.last:
            conv.build((None, *sides[-1], inputs))
        self.parameters.build((None, sides[-1][0] * sides[-1][1] * inputs))

    def call(self, features):
        for conv, down in self.stages:
            height, width = features.shape[1:3]
            if height % 2 or width % 2:
                features = ops.pad(features, [(0, 0), (0, height % 2), (0, width % 2), (0, 0)])
            features = down(conv(features))
        for conv in self.last:
            features = conv(features)
        return self.parameters(ops.reshape(features, (-1, self.parameters.kernel.shape[0])))

    def get_config(self):
        return {
            **super().get_config(),
            "latent_channels": self.latent_channels,
            "channels": list(self.channels),
            "weight_normalization": self.weight_normalization,
        }


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class Upsampler(keras.layers.Layer):
    """A latent vector to maps of the image's size: the decoder of a convolutional VAE without its output layer.

    A linear layer with ReLU, two 3x3 convolutions, then for each doubling a transposed convolution, cropped to
    the side that the encoder had there, and a convolution, all with ReLU.

    Args:
        image_sides: height and width of the result.
        channels: feature maps at each resolution, full resolution first; one doubling each.
        weight_normalization: see `weight_norm`.

    Shapes: (batch, dimensions) to (batch, height, width, channels[0]).
    """

    def __init__(self, image_sides, channels, weight_normalization: bool = True, **kwargs):
        super().__init__(**kwargs)
        self.image_sides = tuple(image_sides)
        self.channels = tuple(channels)
        self.weight_normalization = weight_normalization
        self.sides = halved_sides(*self.image_sides, len(self.channels))[::-1]
        shared = {"weight_normalization": weight_normalization, "dtype": self.dtype_policy, "activation": "relu"}
        conv = {"kernel_size": 3, "padding": "same", **shared}
        height, width = self.sides[0]
        coarsest = self.channels[-1]
        self.linear = Dense(height * width * coarsest, name="linear", **shared)
        self.first = [Conv2D(coarsest, name=f"first_{index}", **conv) for index in range(2)]
        self.stages = [
            (
                Conv2DTranspose(filters, strides=2, name=f"stage_{index}_up", **conv),
                Conv2D(filters, name=f"stage_{index}_conv", **conv),
            )
            for index, filters in enumerate(self.channels[::-1])
        ]

    def build(self, z_shape):
        self.linear.build(z_shape)
        inputs = self.channels[-1]
        for conv in self.first:
            conv.build((None, *self.sides[0], inputs))
        for (up, conv), before, after in zip(self.stages, self.sides[:-1], self.sides[1:], strict=True):
            up.build((None, *before, inputs))
            inputs = up.filters
            conv.build((None, *after, inputs))

    def call(self, z):
        maps = ops.reshape(self.linear(z), (-1, *self.sides[0], self.channels[-1]))
        for conv in self.first:
            maps = conv(maps)
        for (up, conv), (height, width) in zip(self.stages, self.sides[1:], strict=True):
            maps = conv(up(maps)[:, :height, :width])
        return maps

    def compute_output_shape(self, z_shape):
        return (z_shape[0], *self.image_sides, self.channels[0])

    def get_config(self):
        return {
            **super().get_config(),
            "image_sides": list(self.image_sides),
            "channels": list(self.channels),
            "weight_normalization": self.weight_normalization,
        }
