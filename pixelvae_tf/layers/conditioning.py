"""How z enters a masked network: a vector through the bias of every unit, maps through a 1x1 convolution."""

from __future__ import annotations

import math

import keras
from keras import ops

from pixelvae_tf.layers.weight_norm import Conv2D, Dense


def maps_convolution(filters: int, conditional_on_maps: bool, **settings) -> Conv2D | None:
    """The convolution that turns maps of z into feature maps of a network; None for a network without maps."""
    # It draws a seed. A network without maps draws it too, so that its other layers start with the same weights.
    initializer = keras.initializers.GlorotUniform()
    if not conditional_on_maps:
        return None
    return Conv2D(filters, 1, use_bias=False, kernel_initializer=initializer, name="maps", **settings)


def build_maps_convolution(conv: Conv2D | None, maps_shape) -> None:
    """Builds what `maps_convolution` gave. Raises ValueError if the network was made for maps and has none, or not."""
    if (conv is None) != (maps_shape is None):
        needs = "gets maps" if conv is None else "gets no maps"
        raise ValueError(f"conditional_on_maps={conv is not None}: the network {needs}; make it with the other value")
    if conv is not None:
        conv.build(maps_shape)


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class UnitBiases(keras.layers.Layer):
    """The biases of many units: learned, and shifted by a linear map of the latent vector if there is one.

    tanh(a + W z) * sigmoid(b + V z) needs W z and V z of every layer. One matrix product computes all of them and
    includes the ordinary biases of the layers.

    Args:
        sizes: number of input maps of each unit.
        weight_normalization: see `weight_norm`.

    Call: `z` of shape (batch, dimensions), or None without latents. Returns a list with one tensor of shape
    (batch, 1, 1, size), or (1, 1, 1, size) without z, for each of `sizes`.
    """

    def __init__(self, sizes, weight_normalization: bool = True, **kwargs):
        super().__init__(**kwargs)
        self.sizes = tuple(sizes)
        self.weight_normalization = weight_normalization
        # `build` makes it, if there is a z: its initial weights depend on the dimensions of z.
        self.linear: Dense | None = None

    def build(self, z_shape=None):
        total = sum(self.sizes)
        if z_shape is None:
            self.bias = self.add_weight(name="bias", shape=(total,), initializer="zeros")
            return
        # A quarter of Glorot's limit for one layer's map of z. The initial posterior is noise. If it were as strong as
        # the pixels, it would hide them from the masked layers, which would then learn to ignore z for good.
        limit = 0.25 * math.sqrt(6.0 / (z_shape[-1] + sum(self.sizes) / len(self.sizes)))
        self.linear = Dense(
            total,
            kernel_initializer=keras.initializers.RandomUniform(-limit, limit),
            weight_normalization=self.weight_normalization,
            dtype=self.dtype_policy,
            name="linear",
        )
        self.linear.build(z_shape)

    def call(self, z=None):
        biases = ops.reshape(self.bias, (1, -1)) if self.linear is None else self.linear(z)
        ends = [sum(self.sizes[: index + 1]) for index in range(len(self.sizes) - 1)]
        of_units = ops.split(biases, ends, axis=-1) if ends else [biases]
        return [ops.reshape(bias, (-1, 1, 1, bias.shape[-1])) for bias in of_units]

    def get_config(self):
        return {
            **super().get_config(),
            "sizes": list(self.sizes),
            "weight_normalization": self.weight_normalization,
        }
