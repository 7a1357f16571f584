"""Makes the networks of a configuration: one encoder, and one decoder for each conditional distribution."""

from __future__ import annotations

import keras

from pixelvae_tf.config import ModelConfig
from pixelvae_tf.config.model import LSTM_BLOCKS
from pixelvae_tf.layers.conditioning import LabelInput
from pixelvae_tf.networks.convolutional import ConvEncoder, Upsampler
from pixelvae_tf.networks.decoder import Decoder
from pixelvae_tf.networks.flow import RealNVP
from pixelvae_tf.networks.masked_residual import MaskedResidualNetwork
from pixelvae_tf.networks.pixelcnn import PixelCNN
from pixelvae_tf.networks.pixelrnn import PixelRNN
from pixelvae_tf.networks.residual import ResidualEncoder, ResidualUpsampler
from pixelvae_tf.probability.distributions import parameters_per_color


class NetworkFactory:
    """Makes the layers of one model.

    Args:
        config: the model.
        dtype: Keras dtype policy of every layer.
        stacks: the network of masked stacks, a layer with the arguments and calls of `PixelCNN`.
    """

    def __init__(self, config: ModelConfig, dtype, stacks: type[keras.layers.Layer] = PixelCNN):
        self.config = config
        self.stacks = stacks
        self.strides = config.latent_strides or (0,) * config.num_levels
        self.plain = {"weight_normalization": config.weight_normalization, "dtype": dtype}
        self.classes = {"num_classes": config.num_classes}
        self.residual = {
            "num_blocks": config.residual_blocks,
            "batch_normalization": config.batch_normalization,
            **self.plain,
        }

    def label_input(self) -> LabelInput | None:
        """Makes the layer that appends the class to the encoder's input; None without classes or latents."""
        config = self.config
        if not config.num_classes or not config.num_levels:
            return None
        return LabelInput(config.num_classes, name="label_input", dtype=self.plain["dtype"])

    def encoder(self) -> keras.layers.Layer | None:
        """Makes the network from image features to the parameters of every level's posterior; None without latents."""
        config = self.config
        if not config.num_levels:
            return None
        if config.network == "residual":
            return ResidualEncoder(
                config.latent_channels, self.strides, config.encoder_channels, name="encoder", **self.residual
            )
        return ConvEncoder(config.latent_channels[0], config.encoder_channels, name="encoder", **self.plain)

    def pixel_decoder(self) -> Decoder:
        """Makes the decoder of p(x | z1), or of p(x) without latents."""
        config = self.config
        colors = config.image_shape[-1]
        outputs = colors * parameters_per_color(
            config.pixel_levels, config.output_distribution, config.mixture_components
        )
        masked, has_maps = None, bool(config.num_levels) and config.conditioning == "maps"
        if config.pixelcnn_layers:
            masked = self._masked(
                outputs, config.pixelcnn_channels, config.pixelcnn_layers, config.output_layers, colors, has_maps
            )
        upsampler = self._upsampler(0) if has_maps else None
        return Decoder(outputs, upsampler, masked, name="p_x_given_z1", **self.classes, **self.plain)

    def latent_decoder(self, level: int) -> Decoder:
        """Makes the decoder of `level` given the level above: p(z1 | z2) for level 0."""
        config = self.config
        outputs = 2 * config.latent_channels[level]
        masked = None
        if config.latent_pixelcnn_layers:
            # The paper's code ends with one 1x1 layer here.
            masked = self._masked(
                outputs, config.latent_pixelcnn_channels, config.latent_pixelcnn_layers, 1, colors=1, has_maps=True
            )
        name = f"p_z{level + 1}_given_z{level + 2}"
        return Decoder(outputs, self._upsampler(level + 1), masked, name=name, **self.classes, **self.plain)

    def prior_flow(self) -> RealNVP | None:
        """Makes the flow of p(zL), always in float32; None for a standard normal prior."""
        config = self.config
        if config.prior == "standard_normal":
            return None
        settings = (config.prior_couplings, config.prior_layers, config.prior_channels)
        return RealNVP(*settings, name="prior_flow", dtype="float32", **self.classes)

    def _upsampler(self, level: int) -> keras.layers.Layer:
        """Makes the upsampler of `level` to the resolution of the level below, or of the image."""
        config = self.config
        if config.network == "residual":
            below = self.strides[level - 1] if level else 1
            return ResidualUpsampler(
                config.image_shape[:2],
                self.strides[level],
                below,
                config.upsampling_channels,
                name="upsampler",
                **self.residual,
            )
        return Upsampler(config.image_shape[:2], config.upsampling_channels, name="upsampler", **self.plain)

    def _masked(
        self, outputs: int, filters: int, layers: int, output_layers: int, colors: int, has_maps: bool
    ) -> keras.layers.Layer:
        config = self.config
        shared = {
            "first_kernel_size": config.first_kernel_size,
            "kernel_size": config.kernel_size,
            "output_layers": output_layers,
            "colors": colors,
            "conditional_on_maps": has_maps,
            "name": "masked",
            **self.classes,
            **self.plain,
        }
        if config.masked_blocks == "residual":
            return MaskedResidualNetwork(outputs, filters, layers, **shared)
        if config.masked_blocks in LSTM_BLOCKS:
            residual = config.residual_connections
            return PixelRNN(outputs, filters, layers, config.masked_blocks, residual_connections=residual, **shared)
        return self.stacks(outputs, filters, layers, activation=config.activation, **shared)
