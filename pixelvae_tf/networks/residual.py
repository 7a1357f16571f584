"""The unmasked networks of sections 4.2 and 4.3: residual blocks that keep, halve or double the sides of their maps."""

from __future__ import annotations

import keras
from keras import ops

from pixelvae_tf.layers.weight_norm import Conv2D, Dense

# Decoders clip latents to +-this, as in the paper's code, so that training does not diverge at the start.
LATENT_LIMIT = 50.0


def depth_to_space(maps):
    """Rearranges (batch, height, width, 4 * channels) to (batch, 2 * height, 2 * width, channels)."""
    _, height, width, channels = maps.shape
    maps = ops.reshape(maps, (-1, height, width, 2, 2, channels // 4))
    return ops.reshape(ops.transpose(maps, (0, 1, 3, 2, 4, 5)), (-1, 2 * height, 2 * width, channels // 4))


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class ResidualBlock(keras.layers.Layer):
    """ELU, 3x3 convolution, ELU, 3x3 convolution, batch normalization, and a shortcut around them.

    Args:
        filters: output feature maps.
        resample: None keeps the sides, "down" halves them by stride 2, "up" doubles them by sub-pixel convolution.
        batch_normalization: normalize by the statistics of the whole batch in training (on all replicas together), and
            by their moving averages otherwise.
        weight_normalization: see `weight_norm`.

    Shapes: (batch, height, width, inputs) to (batch, height', width', filters).
    """

    def __init__(
        self,
        filters: int,
        resample: str | None = None,
        batch_normalization: bool = True,
        weight_normalization: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if resample not in (None, "down", "up"):
            raise ValueError(f"resample={resample!r}: choose None, 'down' or 'up'")
        self.filters = filters
        self.resample = resample
        self.batch_normalization = batch_normalization
        self.weight_normalization = weight_normalization
        # `build` makes the layers, since their widths and the shortcut depend on the input.
        self.first = self.second = self.shortcut = self.norm = None

    def build(self, input_shape):
        shared = {"weight_normalization": self.weight_normalization, "dtype": self.dtype_policy, "padding": "same"}
        inputs = input_shape[-1]
        # The wider half of the block runs at the lower resolution, where it is cheap.
        middle = self.filters if self.resample == "up" else inputs
        grown = 4 if self.resample == "up" else 1
        strides = 2 if self.resample == "down" else 1
        self.first = Conv2D(middle * grown, 3, name="first", **shared)
        self.second = Conv2D(
            self.filters, 3, strides=strides, use_bias=not self.batch_normalization, name="second", **shared
        )
        if self.resample or inputs != self.filters:
            self.shortcut = Conv2D(self.filters * grown, 1, strides=strides, name="shortcut", **shared)
        if self.batch_normalization:
            self.norm = keras.layers.BatchNormalization(synchronized=True, name="norm", dtype=self.dtype_policy)
        self.first.build(input_shape)
        self.second.build((*self._after_first(input_shape)[:-1], middle))
        if self.shortcut is not None:
            self.shortcut.build(input_shape)
        if self.norm is not None:
            self.norm.build(self.compute_output_shape(input_shape))

    def _after_first(self, shape):
        return (shape[0], *(2 * side for side in shape[1:3]), shape[3]) if self.resample == "up" else shape

    def call(self, maps):
        shortcut = maps if self.shortcut is None else self.shortcut(maps)
        maps = self.first(ops.elu(maps))
        if self.resample == "up":
            maps, shortcut = depth_to_space(maps), depth_to_space(shortcut)
        maps = self.second(ops.elu(maps))
        return shortcut + (maps if self.norm is None else self.norm(maps))

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = self._after_first(input_shape)
        if self.resample == "down":
            height, width = (height + 1) // 2, (width + 1) // 2
        return (batch, height, width, self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "resample": self.resample,
            "batch_normalization": self.batch_normalization,
            "weight_normalization": self.weight_normalization,
        }


class _ResidualNetwork(keras.layers.Layer):
    """The base of the encoder and the upsampler: channels by resolution, and equal blocks."""

    def __init__(
        self,
        channels,
        num_blocks: int = 1,
        batch_normalization: bool = True,
        weight_normalization: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.channels = tuple(channels)
        self.num_blocks = num_blocks
        self.batch_normalization = batch_normalization
        self.weight_normalization = weight_normalization

    @property
    def _plain(self) -> dict:
        """The arguments of every layer in the network."""
        return {"weight_normalization": self.weight_normalization, "dtype": self.dtype_policy}

    def _blocks(self, name: str, filters: int, resample: str | None) -> list[ResidualBlock]:
        """Makes the block that changes the resolution, if any, and those that then keep it."""
        shared = {"batch_normalization": self.batch_normalization, **self._plain}
        changing = [ResidualBlock(filters, resample, name=f"{name}_{resample}", **shared)] if resample else []
        keeping = [ResidualBlock(filters, name=f"{name}_{index}", **shared) for index in range(self.num_blocks)]
        return changing + keeping

    def get_config(self):
        return {
            **super().get_config(),
            "channels": list(self.channels),
            "num_blocks": self.num_blocks,
            "batch_normalization": self.batch_normalization,
            "weight_normalization": self.weight_normalization,
        }


def _build_chain(blocks, shape):
    """Builds a chain of blocks. Returns the shape after the last."""
    for block in blocks:
        block.build(shape)
        shape = block.compute_output_shape(shape)
    return shape


def _run_chain(blocks, maps):
    for block in blocks:
        maps = block(maps)
    return maps


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class ResidualEncoder(_ResidualNetwork):
    """Maps image features to the parameters of q(z1 | x), ..., q(zL | x), in one pass from fine to coarse.

    A 1x1 convolution comes first, then residual blocks at every resolution. For a level of maps, a 1x1 convolution
    computes the parameters at its resolution. For a vector, a linear layer computes them from the coarsest maps. The
    levels above z1 depend on the features, not on a sample of z1, as in the paper's code. The bound holds either way.

    Args:
        latent_channels: dimensions of each level at each position, z1 first.
        latent_strides: image pixels from one position to the next, powers of two; 0 for a vector.
        channels: feature maps at each resolution, full resolution first.
        num_blocks: blocks at each resolution, in addition to those that change it.

    Shapes: (batch, height, width, inputs) to a list over levels of (batch, height', width', 2 * channels) or
    (batch, 2 * channels).
    """

    def __init__(self, latent_channels, latent_strides, channels, **kwargs):
        super().__init__(channels, **kwargs)
        self.latent_channels = tuple(latent_channels)
        self.latent_strides = tuple(latent_strides)
        self.input_conv = Conv2D(self.channels[0], 1, name="input", **self._plain)
        self.resolutions = [
            self._blocks(f"resolution_{index}", filters, "down" if index else None)
            for index, filters in enumerate(self.channels)
        ]
        self.heads = [
            Conv2D(2 * filters, 1, name=f"parameters_z{level + 1}", **self._plain)
            if stride
            else Dense(2 * filters, name=f"parameters_z{level + 1}", **self._plain)
            for level, (filters, stride) in enumerate(zip(self.latent_channels, self.latent_strides, strict=True))
        ]

    def build(self, input_shape):
        self.input_conv.build(input_shape)
        shape, shapes = (*input_shape[:-1], self.channels[0]), {}
        for index, blocks in enumerate(self.resolutions):
            shape = shapes[2**index] = _build_chain(blocks, shape)
        shapes[0] = (None, shape[1] * shape[2] * shape[3])
        for head, stride in zip(self.heads, self.latent_strides, strict=True):
            head.build(shapes[stride])

    def call(self, features):
        maps, at = self.input_conv(features), {}
        for index, blocks in enumerate(self.resolutions):
            maps = at[2**index] = _run_chain(blocks, maps)
        at[0] = ops.reshape(maps, (-1, maps.shape[1] * maps.shape[2] * maps.shape[3]))
        return [head(ops.elu(at[stride])) for head, stride in zip(self.heads, self.latent_strides, strict=True)]

    def get_config(self):
        return {
            **super().get_config(),
            "latent_channels": list(self.latent_channels),
            "latent_strides": list(self.latent_strides),
        }


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class ResidualUpsampler(_ResidualNetwork):
    """Upsamples a level of latents to the resolution of the level below, or of the image.

    A linear layer turns a vector into the coarsest maps; a 1x1 convolution takes maps. Residual blocks follow at every
    resolution from there to the target's.

    Args:
        image_sides: height and width of the image.
        stride: image pixels from one position of the latents to the next; 0 for a vector.
        target_stride: the same for the result: 1 for the image.
        channels: feature maps at each resolution, full resolution first.

    Shapes: (batch, height, width, dimensions) or (batch, dimensions) to (batch, height', width', channels there).
    """

    def __init__(self, image_sides, stride: int, target_stride: int, channels, **kwargs):
        super().__init__(channels, **kwargs)
        self.image_sides = tuple(image_sides)
        self.stride = stride
        self.target_stride = target_stride
        finest = target_stride.bit_length() - 1
        coarsest = stride.bit_length() - 1 if stride else len(self.channels) - 1
        self.start = (*(side // 2**coarsest for side in self.image_sides), self.channels[coarsest])
        if stride:
            self.entry = Conv2D(self.start[-1], 1, name="entry", **self._plain)
        else:
            # Glorot's weights would weaken z, which has fewer dimensions than the maps.
            units = self.start[0] * self.start[1] * self.start[2]
            self.entry = Dense(units, kernel_initializer="lecun_uniform", name="entry", **self._plain)
        self.blocks = self._blocks(f"resolution_{coarsest}", self.channels[coarsest], None)
        for index in range(coarsest - 1, finest - 1, -1):
            self.blocks += self._blocks(f"resolution_{index}", self.channels[index], "up")

    def build(self, z_shape):
        self.entry.build(z_shape)
        _build_chain(self.blocks, (None, *self.start))

    def call(self, z):
        z = ops.clip(z, -LATENT_LIMIT, LATENT_LIMIT)
        return ops.elu(_run_chain(self.blocks, ops.reshape(self.entry(z), (-1, *self.start))))

    def compute_output_shape(self, z_shape):
        height, width = (side // self.target_stride for side in self.image_sides)
        return (z_shape[0], height, width, self.channels[self.target_stride.bit_length() - 1])

    def get_config(self):
        return {
            **super().get_config(),
            "image_sides": list(self.image_sides),
            "stride": self.stride,
            "target_stride": self.target_stride,
        }
