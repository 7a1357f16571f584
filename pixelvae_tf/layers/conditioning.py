"""Conditions networks on z and the class: vectors through the bias of every unit, maps through a 1x1 convolution."""

from __future__ import annotations

import math

import keras
from keras import ops

from pixelvae_tf.layers.weight_norm import Conv2D, Dense


def maps_convolution(filters: int, conditional_on_maps: bool, **settings) -> Conv2D | None:
    """Makes the convolution from maps of z to feature maps of a network; None for a network without maps."""
    # The initializer draws a seed. A network without maps draws it too, so its other layers start with equal weights.
    initializer = keras.initializers.GlorotUniform()
    if not conditional_on_maps:
        return None
    return Conv2D(filters, 1, use_bias=False, kernel_initializer=initializer, name="maps", **settings)


def build_maps_convolution(conv: Conv2D | None, maps_shape) -> None:
    """Builds the result of `maps_convolution`. Raises ValueError for maps without a convolution, or the reverse."""
    if (conv is None) != (maps_shape is None):
        needs = "gets maps" if conv is None else "gets no maps"
        raise ValueError(f"conditional_on_maps={conv is not None}: the network {needs}; make it with the other value")
    if conv is not None:
        conv.build(maps_shape)


def check_label(label, num_classes: int) -> None:
    """Raises ValueError if a network with classes gets no label, or one without classes gets a label."""
    if (label is None) == bool(num_classes):
        raise ValueError(f"num_classes={num_classes}: the network gets {'no' if label is None else 'a'} label")


def _vector_of_class(vectors, label):
    """Returns the labels' rows of `vectors` (classes, channels), by a product with one-hot vectors.

    A look-up would have a sparse gradient, which clipping over replicas does not support.
    """
    return ops.matmul(ops.one_hot(label, vectors.shape[0], dtype=vectors.dtype), vectors)


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class LabelInput(keras.layers.Layer):
    """Appends a learned vector of the class to a network's input, the same at every position.

    Args:
        num_classes: number of classes.
        channels: dimensions of the vector. It replaces a one-hot vector, which would have a dimension for each class.

    Call: `features` (batch, ..., channels), and `label` (batch,), integers 0..classes-1. Returns (batch, ...,
    channels of the features + channels).
    """

    def __init__(self, num_classes: int, channels: int = 16, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.channels = channels

    def build(self, features_shape, label_shape=None):
        self.vectors = self.add_weight(
            name="vectors",
            shape=(self.num_classes, self.channels),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
        )

    def call(self, features, label=None):
        check_label(label, self.num_classes)
        features = ops.cast(features, self.compute_dtype)
        positions = [1] * (len(features.shape) - 2)
        vectors = _vector_of_class(ops.convert_to_tensor(self.vectors), label)
        vectors = ops.reshape(vectors, (-1, *positions, self.channels))
        spread = ops.broadcast_to(vectors, (*ops.shape(features)[:-1], self.channels))
        return ops.concatenate([features, spread], axis=-1)

    def compute_output_shape(self, features_shape, label_shape=None):
        return (*features_shape[:-1], features_shape[-1] + self.channels)

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes, "channels": self.channels}


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class ClassBiases(keras.layers.Layer):
    """The class's shifts of the biases of many units: a learned vector for each class and unit, which starts at zero.

    Args:
        sizes: number of input maps of each unit.
        num_classes: number of classes.

    Call: `label` (batch,), integers 0..classes-1. Returns a list with one tensor of shape (batch, 1, 1, size) for each
    of `sizes`.

    Source: van den Oord et al. 2016b, section 2.3.
    """

    def __init__(self, sizes, num_classes: int, **kwargs):
        super().__init__(**kwargs)
        self.sizes = tuple(sizes)
        self.num_classes = num_classes

    def build(self, label_shape=None):
        self.vectors = self.add_weight(name="vectors", shape=(self.num_classes, sum(self.sizes)), initializer="zeros")

    def call(self, label):
        check_label(label, self.num_classes)
        return _of_units(_vector_of_class(ops.convert_to_tensor(self.vectors), label), self.sizes)

    def get_config(self):
        return {**super().get_config(), "sizes": list(self.sizes), "num_classes": self.num_classes}


def _of_units(biases, sizes: tuple[int, ...]) -> list:
    """Splits (batch, sum of sizes) into a list of (batch, 1, 1, size)."""
    ends = [sum(sizes[: index + 1]) for index in range(len(sizes) - 1)]
    of_units = ops.split(biases, ends, axis=-1) if ends else [biases]
    return [ops.reshape(bias, (-1, 1, 1, bias.shape[-1])) for bias in of_units]


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class UnitBiases(keras.layers.Layer):
    """The biases of many units: learned, and shifted by a linear map of the latent vector and by the class, if any.

    tanh(a + W z) * sigmoid(b + V z) needs W z and V z of every layer. One matrix product computes all of them, and adds
    the ordinary biases of the layers.

    Args:
        sizes: number of input maps of each unit.
        weight_normalization: see `weight_norm`.
        num_classes: number of classes; 0 without labels. See `ClassBiases`.

    Call: `z` of shape (batch, dimensions), or None without latents; `label` (batch,) integers, or None without classes.
    Returns a list with one tensor of shape (batch, 1, 1, size), or (1, 1, 1, size) without both, for each of `sizes`.
    """

    def __init__(self, sizes, weight_normalization: bool = True, num_classes: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.sizes = tuple(sizes)
        self.weight_normalization = weight_normalization
        self.num_classes = num_classes
        # `build` makes it, if there is a z: its initial weights depend on the dimensions of z.
        self.linear: Dense | None = None
        self.of_class = (
            ClassBiases(self.sizes, num_classes, name="of_class", dtype=self.dtype_policy) if num_classes else None
        )

    def build(self, z_shape=None, label_shape=None):
        total = sum(self.sizes)
        if self.of_class is not None:
            self.of_class.build()
        if z_shape is None:
            self.bias = self.add_weight(name="bias", shape=(total,), initializer="zeros")
            return
        # A quarter of Glorot's limit for one layer's map of z. The initial posterior is noise. If it were as strong as
        # the pixels, it would drown them, and the masked layers would learn to ignore z for good.
        limit = 0.25 * math.sqrt(6.0 / (z_shape[-1] + sum(self.sizes) / len(self.sizes)))
        self.linear = Dense(
            total,
            kernel_initializer=keras.initializers.RandomUniform(-limit, limit),
            weight_normalization=self.weight_normalization,
            dtype=self.dtype_policy,
            name="linear",
        )
        self.linear.build(z_shape)

    def call(self, z=None, label=None):
        check_label(label, self.num_classes)
        biases = ops.reshape(self.bias, (1, -1)) if self.linear is None else self.linear(z)
        of_units = _of_units(biases, self.sizes)
        if self.of_class is None:
            return of_units
        return [bias + shift for bias, shift in zip(of_units, self.of_class(label), strict=True)]

    def get_config(self):
        return {
            **super().get_config(),
            "sizes": list(self.sizes),
            "weight_normalization": self.weight_normalization,
            "num_classes": self.num_classes,
        }
