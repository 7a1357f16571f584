"""Converts integer pixels to the real-valued input of a network."""

from __future__ import annotations

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class PixelInput(keras.layers.Layer):
    """Scales integer pixels, or embeds each value of each color in a learned vector.

    Binary pixels stay 0 and 1. The layer scales more levels to about -2..2, as the paper's code does: (x - 128) / 64
    for 256 levels. The channels of a color are contiguous, as the masks expect.

    Args:
        pixel_levels: values that a pixel can take.
        embedding_channels: dimensions of the learned vectors; 0 scales instead.

    Shapes: integers (batch, height, width, colors) to (batch, height, width, colors * max(1, embedding_channels)).
    """

    def __init__(self, pixel_levels: int, embedding_channels: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.pixel_levels = pixel_levels
        self.embedding_channels = embedding_channels
        self.embedding = None

    def build(self, input_shape):
        if self.embedding_channels:
            self.embedding = self.add_weight(
                name="embedding",
                shape=(input_shape[-1] * self.pixel_levels, self.embedding_channels),
                initializer=keras.initializers.RandomNormal(stddev=1.0),
            )

    def call(self, pixels):
        if not self.embedding_channels:
            return self.scaled(pixels)
        height, width, colors = pixels.shape[1:]
        rows = ops.cast(pixels, "int32") + ops.arange(colors, dtype="int32") * self.pixel_levels
        embedded = ops.take(self.embedding, rows, axis=0)
        return ops.reshape(embedded, (-1, height, width, colors * self.embedding_channels))

    def scaled(self, pixels):
        """Scales pixels to the network's input in its compute type: 0 and 1, or about -2..2."""
        pixels = ops.cast(pixels, self.compute_dtype)
        return pixels if self.pixel_levels == 2 else pixels * (4.0 / self.pixel_levels) - 2.0

    def incremental(self) -> PixelInputSteps:
        """Returns the layer's steps, for pixels that arrive in the order of generation, color by color."""
        return PixelInputSteps(self)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] * max(1, self.embedding_channels))

    def get_config(self):
        return {
            **super().get_config(),
            "pixel_levels": self.pixel_levels,
            "embedding_channels": self.embedding_channels,
        }


class PixelInputSteps:
    """The steps of a `PixelInput`: one color of a pixel, or of a row of pixels. They keep no state."""

    def __init__(self, layer: PixelInput):
        self.layer = layer
        self.table = ops.cast(layer.embedding, layer.compute_dtype) if layer.embedding_channels else None

    def features(self, pixels, color: int):
        """Converts integers of color number `color`, (..., 1), to features, (..., max(1, embedding_channels))."""
        if self.table is None:
            return self.layer.scaled(pixels)
        return ops.take(self.table, pixels[..., 0] + color * self.layer.pixel_levels, axis=0)
