"""One step of generation: from a level of latents to the distribution of the level below, or of the image."""

from __future__ import annotations

import keras

from pixelvae_tf.layers.conditioning import LabelInput
from pixelvae_tf.layers.dropout import replica_factors
from pixelvae_tf.layers.weight_norm import Conv2D


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class Decoder(keras.layers.Layer):
    """The parameters of p(y | z), where y is the image and z is z1, or y is z1 and z is z2, and so on.

    Args:
        output_channels: parameters at each position of y.
        upsampler: layer that upsamples z to maps of y's size. Without one, z enters the masked layers as a vector, or
            there is no z.
        masked: autoregressive network over y, a `PixelCNN`, `MaskedResidualNetwork` or `PixelRNN`; None makes the
            positions of y independent given z.
        weight_normalization: see `weight_norm`.
        num_classes: number of classes, for p(y | z, label); 0 without labels. A label enters all gates of the masked
            network. Without masked layers it is appended to z.

    Call: `features` of y (batch, height, width, channels), the result of `condition`, and in training the masked
    network's `dropout`. Returns (batch, height, width, output_channels).
    """

    def __init__(
        self,
        output_channels: int,
        upsampler: keras.layers.Layer | None = None,
        masked: keras.layers.Layer | None = None,
        weight_normalization: bool = True,
        num_classes: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if upsampler is None and masked is None:
            raise ValueError("a decoder needs an upsampler or masked layers")
        self.output_channels = output_channels
        self.upsampler = upsampler
        self.masked = masked
        self.weight_normalization = weight_normalization
        self.num_classes = num_classes
        self.output_conv = self.label_input = None
        if masked is None:
            if num_classes:
                self.label_input = LabelInput(num_classes, name="label_input", dtype=self.dtype_policy)
            self.output_conv = Conv2D(
                output_channels, 1, name="output", weight_normalization=weight_normalization, dtype=self.dtype_policy
            )

    def build(self, features_shape, z_shape=None):
        # Keras builds the layers of a saved decoder before the decoder.
        maps_shape = None
        if self.label_input is not None:
            if not self.label_input.built:
                self.label_input.build(z_shape)
            z_shape = self.label_input.compute_output_shape(z_shape)
        if self.upsampler is not None:
            if not self.upsampler.built:
                self.upsampler.build(z_shape)
            maps_shape = self.upsampler.compute_output_shape(z_shape)
        if self.masked is None:
            if not self.output_conv.built:
                self.output_conv.build(maps_shape)
        elif self.masked.built:
            return
        elif maps_shape is not None:
            self.masked.build(features_shape, maps_shape=maps_shape)
        elif z_shape is not None:
            self.masked.build(features_shape, z_shape=z_shape)
        else:
            self.masked.build(features_shape)

    def condition(self, z, label=None) -> dict:
        """Computes the arguments of the call that depend on z and the label. All positions of y share them."""
        of_label = {"label": label} if self.num_classes and self.masked is not None else {}
        if self.label_input is not None:
            z = self.label_input(z, label)
        if self.upsampler is not None:
            return {"maps": self.upsampler(z), **of_label}
        return of_label if z is None else {"z": z, **of_label}

    def call(self, features, **condition):
        return self.output_conv(condition["maps"]) if self.masked is None else self.masked(features, **condition)

    def replica_dropout(self, sides, rate: float, batch_size, seed) -> dict:
        """Draws the masked network's dropout for this replica's rows, as an argument of the call; {} without blocks.

        Args:
            sides: height and width of y.
            rate, batch_size, seed: see `dropout.replica_factors`.
        """
        if self.masked is None:
            return {}
        blocks, filters = self.masked.residual_blocks
        factors = replica_factors((blocks, *sides, filters), rate, batch_size, seed, self.compute_dtype)
        return {"dropout": factors} if factors else {}

    def incremental(self, **condition):
        """Returns the masked network's steps, for features that arrive in the order of generation."""
        return self.masked.incremental(**condition)

    def get_config(self):
        return {
            **super().get_config(),
            "output_channels": self.output_channels,
            "upsampler": keras.saving.serialize_keras_object(self.upsampler),
            "masked": keras.saving.serialize_keras_object(self.masked),
            "weight_normalization": self.weight_normalization,
            "num_classes": self.num_classes,
        }

    @classmethod
    def from_config(cls, config):
        layers = {name: keras.saving.deserialize_keras_object(config[name]) for name in ("upsampler", "masked")}
        return cls(**{**config, **layers})
