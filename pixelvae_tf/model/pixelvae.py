"""PixelVAE: a variational autoencoder whose decoder is a PixelCNN, for any number of latent levels.

    p(x, z1, ..., zL) = p(x | z1) p(z1 | z2) ... p(zL)          generation, top down
    q(z1, ..., zL | x) = q(z1 | x) q(z2 | x) ... q(zL | x)       inference, bottom up

The level of a latent is an index from 0: level 0 is z1.
"""

from __future__ import annotations

import keras

from pixelvae_tf.config import ModelConfig
from pixelvae_tf.layers.pixel_input import PixelInput
from pixelvae_tf.model.distributed_fit import DistributedFit
from pixelvae_tf.model.fitting import Fitting
from pixelvae_tf.model.interface import ImageInterface
from pixelvae_tf.networks.factory import NetworkFactory
from pixelvae_tf.networks.residual import LATENT_LIMIT
from pixelvae_tf.probability import objectives
from pixelvae_tf.probability.distributions import (
    DiagonalGaussian,
    TransformedNormal,
    bounded_prior,
    gaussian_from_parameters,
    pixel_distribution,
    standard_normal_like,
)
from pixelvae_tf.probability.objectives import ElboTerms
from pixelvae_tf.sampling.noise import latent_noise, sample_posteriors


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class PixelVAE(ImageInterface, Fitting, DistributedFit, keras.Model):
    """A PixelVAE, PixelCNN or VAE, as its configuration says.

    Args:
        config: the network.
        dtype: a Keras dtype policy; "mixed_bfloat16" computes in bfloat16 with float32 weights and losses.

    Images are integers 0..levels-1 of shape (batch, height, width, colors). Results are in nats an image, and a
    seed makes every random one repeatable. `ImageInterface` holds the methods that take and give arrays, `Fitting`
    what Keras's `fit` and `evaluate` call; here stands the model itself.
    """

    def __init__(self, config: ModelConfig, **kwargs):
        # Noise and latents are float32 whatever the layers compute in.
        super().__init__(autocast=False, **kwargs)
        self.config = config
        networks = NetworkFactory(config, self.dtype_policy)
        self.pixel_input = PixelInput(config.pixel_levels, config.embedding_channels, dtype=self.dtype_policy)
        self.encoder = networks.encoder()
        self.pixel_decoder = networks.pixel_decoder()
        self.latent_decoders = [networks.latent_decoder(level) for level in range(config.num_levels - 1)]
        self.prior_flow = networks.prior_flow()
        self.prepare_fitting()
        self.build()

    def build(self, input_shape=None):
        """Creates all weights; the shapes follow from the configuration."""
        if self.built:
            return
        images = (None, *self.config.image_shape)
        latents = [(None, *shape) for shape in self.config.latent_shapes]
        features = self.pixel_input.compute_output_shape(images)
        self.pixel_input.build(images)
        if self.encoder is not None:
            self.encoder.build(features)
        self.pixel_decoder.build(features, latents[0] if latents else None)
        for decoder, lower, upper in zip(self.latent_decoders, latents[:-1], latents[1:], strict=True):
            decoder.build(lower, upper)
        if self.prior_flow is not None:
            self.prior_flow.build(latents[-1])
        self.built = True

    # The conditional distributions of the model.

    def q_z_given_x(self, images) -> list[DiagonalGaussian]:
        """The approximate posteriors q(z1 | x), ..., q(zL | x)."""
        if self.encoder is None:
            return []
        parameters = keras.tree.flatten(self.encoder(self.pixel_input(images)))
        return [gaussian_from_parameters(values, self.config.latent_scale) for values in parameters]

    def p_x_given_z1(self, images, z1, dropout=None):
        """The distribution of every pixel given z1 and the pixels before it in `images` (equation 1)."""
        return self.p_x(images, {**self.pixel_decoder.condition(z1), **(dropout or {})})

    def p_x(self, images, condition: dict):
        """The same, with what the decoder needs of z1 computed before."""
        return self.p_x_from_parameters(self.pixel_decoder(self.pixel_input(images), **condition))

    def p_x_from_parameters(self, parameters):
        """The same, from the decoder's output at any positions, (batch, height, width, units)."""
        return pixel_distribution(parameters, self.config.pixel_levels, self.config.output_distribution)

    def p_z_given_upper(self, level: int, z, z_upper, scale_floor=0.0, dropout=None) -> DiagonalGaussian:
        """p(z_l | z_l+1): every position of `level` given the level above and the positions of `z` before it."""
        condition = {**self.latent_decoders[level].condition(z_upper), **(dropout or {})}
        return self.p_z(level, z, condition, scale_floor)

    def p_z(self, level: int, z, condition: dict, scale_floor=0.0) -> DiagonalGaussian:
        """The same, with what the decoder needs of the level above computed before."""
        parameters = self.latent_decoders[level](self.latent_features(z), **condition)
        return self.p_z_from_parameters(parameters, scale_floor)

    def p_z_from_parameters(self, parameters, scale_floor=0.0) -> DiagonalGaussian:
        """The same, from the decoder's output at any positions, (..., units)."""
        gaussian = gaussian_from_parameters(parameters, self.config.latent_scale)
        return bounded_prior(gaussian, scale_floor) if self.config.latent_scale == "softsign" else gaussian

    def p_topmost(self, z) -> DiagonalGaussian | TransformedNormal:
        """p(zL) for latents or noise of the shape of `z`: standard normal, or what the flow makes of that."""
        return standard_normal_like(z) if self.prior_flow is None else TransformedNormal(self.prior_flow)

    def latent_features(self, z):
        """What a decoder over maps of latents reads of those before."""
        return keras.ops.clip(z, -LATENT_LIMIT, LATENT_LIMIT)

    # The bound.

    def priors(self, samples, scale_floor=0.0, dropout=None) -> list[DiagonalGaussian | TransformedNormal]:
        """p(z1 | z2), ..., p(zL) at the given samples."""
        dropout = dropout or [None] * len(self.latent_decoders)
        below = [
            self.p_z_given_upper(level, z, z_upper, scale_floor, dropout[level])
            for level, (z, z_upper) in enumerate(zip(samples[:-1], samples[1:], strict=True))
        ]
        return below + [self.p_topmost(z) for z in samples[-1:]]

    def reconstruction(self, images, samples, dropout=None):
        """-log p(x | z1) of each example, nats."""
        p_x = self.p_x_given_z1(images, samples[0] if samples else None, dropout)
        return -objectives.sum_over_dimensions(p_x.log_prob(images))

    def elbo_terms(self, images, noise, scale_floor=0.0, dropout=None) -> ElboTerms:
        """Equation 2 for a batch of integer images, with the given latent noise and, in training, `replica_dropout`.

        Over maps of latents the KL is exact position by position, given the sampled positions before. To a flow it is
        an estimate from the sample, which can be negative for an image (`TransformedNormal.kl_from`).
        """
        posteriors = self.q_z_given_x(images)
        samples = sample_posteriors(posteriors, noise)
        of_pixels, *of_latents = dropout or [None]
        kl = [
            objectives.sum_over_dimensions(prior.kl_from(posterior, z))
            for posterior, prior, z in zip(
                posteriors, self.priors(samples, scale_floor, of_latents), samples, strict=True
            )
        ]
        return objectives.elbo_terms(self.reconstruction(images, samples, of_pixels), kl)

    def log_importance_weight(self, images, posteriors, noise):
        """log p(x, z) - log q(z | x) of each example at one sample of all latents, nats."""
        samples = sample_posteriors(posteriors, noise)
        log_weight = -self.reconstruction(images, samples)
        for posterior, prior, z in zip(posteriors, self.priors(samples), samples, strict=True):
            log_weight += objectives.sum_over_dimensions(prior.log_prob(z))
            log_weight -= objectives.sum_over_dimensions(posterior.log_prob(z))
        return log_weight

    def call(self, images, noise=None, scale_floor=0.0, dropout=None):
        """The terms of the bound of each image; with the noise of seed 0 where none is given.

        Called like a layer, so that `training=True` reaches the batch normalization.
        """
        if noise is None:
            noise = latent_noise(self.config, keras.ops.shape(images)[0], 0)
        return self.elbo_terms(images, noise, scale_floor, dropout)

    def get_compile_config(self):
        # A saved model is for use; training continues from the checkpoints of its work directory.
        return None

    def get_config(self):
        return {**super().get_config(), "config": self.config.to_dict()}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "config": ModelConfig.from_dict(config["config"])})
