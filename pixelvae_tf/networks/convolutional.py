"""The unmasked networks of section 4.1: the strided encoder and the upsampling decoder.

Their initial weights keep the second moment of the maps from layer to layer (He et al. 2015). With Glorot's weights
every ReLU halves it, and after eight to ten layers little of z is left: on MNIST the posterior means of a new model
differ between images by 0.002, and another z moves the logits a tenth as far as another image. The masked layers do
keep the variance, so they would learn to ignore z for good.
"""

from __future__ import annotations

import math

import keras
from keras import ops

from pixelvae_tf.layers.weight_norm import Conv2D, Conv2DTranspose, Dense

# By name, because an instance would give all layers of one shape the same weights.
_BEFORE_RELU = "he_uniform"
# A layer without a following ReLU needs half of that variance.
_LINEAR = "lecun_uniform"


def _before_relu_transposed(kernel_size: int, strides: int, inputs: int) -> keras.initializers.Initializer:
    """Returns He's initial weights for a transposed convolution.

    On average, a position of the result is a sum of kernel_size**2 * inputs / strides**2 products.
    """
    limit = strides * math.sqrt(6.0 / (kernel_size**2 * inputs))
    return keras.initializers.RandomUniform(-limit, limit)


def halved_sides(height: int, width: int, stages: int) -> list[tuple[int, int]]:
    """Returns the sides of maps after 0, 1, ... `stages` halvings; odd sides are rounded up (28, 14, 7, 4)."""
    sides = [(height, width)]
    for _ in range(stages):
        sides.append(((sides[-1][0] + 1) // 2, (sides[-1][1] + 1) // 2))
    return sides


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class ConvEncoder(keras.layers.Layer):
    """Maps image features to the parameters of q(z1 | x), mean and log scale side by side.

    Each stage is a 3x3 convolution and one of stride 2, with ReLU. A stage pads odd sides below and to the right before
    it halves them. Two more 3x3 convolutions and a linear layer follow.

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
        conv = {
            "kernel_size": 3,
            "padding": "same",
            "activation": "relu",
            "kernel_initializer": _BEFORE_RELU,
            **shared,
        }
        before = (self.channels[0], *self.channels[:-1])
        self.stages = [
            (
                Conv2D(first, name=f"stage_{index}_conv", **conv),
                Conv2D(second, strides=2, name=f"stage_{index}_down", **conv),
            )
            for index, (first, second) in enumerate(zip(before, self.channels, strict=True))
        ]
        self.last = [Conv2D(self.channels[-1], name=f"last_{index}", **conv) for index in range(2)]
        self.parameters = Dense(2 * latent_channels, kernel_initializer=_LINEAR, name="parameters", **shared)

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
    """Upsamples a latent vector to maps of the image's size, as a convolutional VAE's decoder before its output layer.

    A linear layer and two 3x3 convolutions come first. For each doubling, a transposed convolution and a convolution
    follow. The transposed one is cropped to the side of the encoder's maps there. All of them have a ReLU.

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
        before_relu = {"kernel_initializer": _BEFORE_RELU}
        height, width = self.sides[0]
        coarsest = self.channels[-1]
        self.linear = Dense(height * width * coarsest, name="linear", **before_relu, **shared)
        self.first = [Conv2D(coarsest, name=f"first_{index}", **before_relu, **conv) for index in range(2)]
        self.stages = [
            (
                Conv2DTranspose(
                    filters,
                    strides=2,
                    kernel_initializer=_before_relu_transposed(3, 2, inputs),
                    name=f"stage_{index}_up",
                    **conv,
                ),
                Conv2D(filters, name=f"stage_{index}_conv", **before_relu, **conv),
            )
            for index, (inputs, filters) in enumerate(
                zip((coarsest, *self.channels[:0:-1]), self.channels[::-1], strict=True)
            )
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
