"""PixelVAE: a variational autoencoder whose decoder is a PixelCNN, for any number of latent levels.

    p(x, z1, ..., zL) = p(x | z1) p(z1 | z2) ... p(zL)          generation, top down
    q(z1, ..., zL | x) = q(z1 | x) q(z2 | x) ... q(zL | x)       inference, bottom up

In a model of classes (`num_classes`) every factor is also conditional on the label of the image, (batch,) integers.
The level of a latent is an index from 0: level 0 is z1.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf
from keras import ops

from pixelvae_tf.config import ModelConfig
from pixelvae_tf.layers.compilation import compiled_whole
from pixelvae_tf.layers.pixel_input import PixelInput
from pixelvae_tf.model import checks, replicas
from pixelvae_tf.model.graphs import Graphs
from pixelvae_tf.model.image_model import ImageModel
from pixelvae_tf.model.settings import own_settings
from pixelvae_tf.networks.factory import NetworkFactory
from pixelvae_tf.networks.residual import LATENT_LIMIT
from pixelvae_tf.probability import objectives, randomness
from pixelvae_tf.probability.distributions import (
    DiagonalGaussian,
    TransformedNormal,
    bounded_prior,
    gaussian_from_parameters,
    pixel_distribution,
    standard_normal_like,
)
from pixelvae_tf.probability.objectives import ElboTerms
from pixelvae_tf.sampling.noise import latent_noise, replica_noise, sample_posteriors


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class PixelVAE(ImageModel):
    """A PixelVAE, PixelCNN or VAE, as its configuration says.

    >>> import keras, numpy, pixelvae_tf
    >>> config = pixelvae_tf.ModelConfig(
    ...     image_shape=(8, 8, 1), pixel_levels=2, latent_channels=(4,), encoder_channels=(8,), pixelcnn_layers=2,
    ...     pixelcnn_channels=8, first_kernel_size=3, kernel_size=3)
    >>> model = pixelvae_tf.PixelVAE(config)
    >>> images = numpy.eye(8, dtype="uint8")[None, :, :, None].repeat(16, axis=0)
    >>> model.compile(keras.optimizers.Adam(1e-2))
    >>> before = model.elbo(images, seed=0).elbo.mean()
    >>> history = model.fit(images, epochs=30, verbose=0)
    >>> bool(model.elbo(images, seed=0).elbo.mean() > before)
    True
    >>> model.sample(2, seed=0).shape
    (2, 8, 8, 1)

    Images are integers 0..levels-1 of shape (batch, height, width, colors). Results are in nats per image. A seed, a
    whole number 0..2**31-1, makes every random result repeatable. Keras's global settings (floatx, dtype policy, data
    format) do not change a model.

    Args:
        config: the network.
        networks: makes the layers, from the configuration and the dtype policy.
        dtype: "float32"; or "mixed_bfloat16" or "mixed_float16", which compute in these types with float32 weights and
            losses.

    Attributes:
        graphs: the functions of tensors behind the methods, for a tf.function or a dataset's map.
        average: the moving average of the weights, once compiled with `ema_decay`.
    """

    @own_settings()
    def __init__(self, config: ModelConfig, networks: Callable[..., NetworkFactory] = NetworkFactory, **kwargs):
        super().__init__(config, Graphs, **kwargs)
        layers = networks(config, self.dtype_policy)
        self.pixel_input = PixelInput(
            config.pixel_levels, config.embedding_channels, name="pixel_input", dtype=self.dtype_policy
        )
        self.encoder = layers.encoder()
        self.pixel_decoder = layers.pixel_decoder()
        self.latent_decoders = [layers.latent_decoder(level) for level in range(config.num_levels - 1)]
        self.prior_flow = layers.prior_flow()
        self.label_input = layers.label_input()
        # Names in training and validation reports, in the order of `ElboTerms.reported`; then settings of `compile`.
        self.term_names = ["bound", "reconstruction", *(f"kl_z{n + 1}" for n in range(config.num_levels))]
        self.weight_names = [f"kl_weight_z{n + 1}" for n in range(config.num_levels)]
        self.evaluation_metrics = [keras.metrics.Mean(name=name, dtype="float32") for name in self.term_names]
        self.kl_warmup_steps: tuple[int, ...] = (0,)
        self.prior_scale_floor_steps = 0
        self.clip_value = self.clip_norm = self.dropout = self.free_bits = 0.0
        self.kl_weight = 1.0
        self.compile_step = False
        self.seed = 0
        self.stop_flag: replicas.StopFlag | None = None
        self.build()

    def build(self, input_shape=None):
        """Creates all weights; the shapes follow from the configuration."""
        if self.built:
            return
        images = (None, *self.config.image_shape)
        latents = [(None, *shape) for shape in self.config.latent_shapes]
        features = read = self.pixel_input.compute_output_shape(images)
        self.pixel_input.build(images)
        if self.label_input is not None:
            self.label_input.build(features)
            read = self.label_input.compute_output_shape(features)
        if self.encoder is not None:
            self.encoder.build(read)
        self.pixel_decoder.build(features, latents[0] if latents else None)
        for decoder, lower, upper in zip(self.latent_decoders, latents[:-1], latents[1:], strict=True):
            decoder.build(lower, upper)
        if self.prior_flow is not None:
            self.prior_flow.build(latents[-1])
        self.built = True

    # The conditional distributions of the model.

    def q_z_given_x(self, images, label=None) -> list[DiagonalGaussian]:
        """Returns the approximate posteriors q(z1 | x), ..., q(zL | x)."""
        if self.encoder is None:
            return []
        features = self.pixel_input(images)
        if self.label_input is not None:
            features = self.label_input(features, label)
        parameters = keras.tree.flatten(self.encoder(features))
        return [gaussian_from_parameters(values, self.config.latent_scale) for values in parameters]

    def p_x_given_z1(self, images, condition: dict):
        """Returns the distribution of every pixel given z1 and the pixels before it in `images` (equation 1).

        `condition` is `pixel_decoder.condition(z1, label)`, which all pixels share.
        """
        return self.p_x_from_parameters(self.pixel_decoder(self.pixel_input(images), **condition))

    def p_x_from_parameters(self, parameters):
        """Returns the same from the decoder's output at any positions, (batch, height, width, units)."""
        config = self.config
        return pixel_distribution(
            parameters, config.pixel_levels, config.output_distribution, config.mixture_components
        )

    def p_z_given_upper(self, level: int, z, condition: dict, scale_floor=0.0) -> DiagonalGaussian:
        """Returns p(z_l | z_l+1): every position of `level` given the level above and the positions of `z` before it.

        `condition` is `latent_decoders[level].condition(z_upper, label)`.
        """
        parameters = self.latent_decoders[level](self.latent_features(z), **condition)
        return self.p_z_from_parameters(parameters, scale_floor)

    def p_z_from_parameters(self, parameters, scale_floor=0.0) -> DiagonalGaussian:
        """Returns the same from the decoder's output at any positions, (..., units)."""
        gaussian = gaussian_from_parameters(parameters, self.config.latent_scale)
        return bounded_prior(gaussian, scale_floor) if self.config.latent_scale == "softsign" else gaussian

    def p_topmost(self, z, label=None) -> DiagonalGaussian | TransformedNormal:
        """Returns p(zL) for latents or noise of the shape of `z`: standard normal, or transformed by the flow."""
        return standard_normal_like(z) if self.prior_flow is None else TransformedNormal(self.prior_flow, label)

    def latent_features(self, z):
        """Converts maps of latents to the input of the decoder over them."""
        return ops.clip(z, -LATENT_LIMIT, LATENT_LIMIT)

    # The bound.

    def priors(self, samples, scale_floor=0.0, dropout=None, label=None) -> list[DiagonalGaussian | TransformedNormal]:
        """Returns p(z1 | z2), ..., p(zL) at the given samples."""
        below = []
        for level, (z, z_upper) in enumerate(zip(samples[:-1], samples[1:], strict=True)):
            condition = self.latent_decoders[level].condition(z_upper, label) | (dropout[level] if dropout else {})
            below.append(self.p_z_given_upper(level, z, condition, scale_floor))
        return below + [self.p_topmost(z, label) for z in samples[-1:]]

    def reconstruction(self, images, samples, dropout=None, label=None):
        """Returns -log p(x | z1) of each example, in nats."""
        condition = self.pixel_decoder.condition(samples[0] if samples else None, label) | (dropout or {})
        p_x = self.p_x_given_z1(images, condition)
        return -objectives.sum_over_dimensions(p_x.log_prob(images))

    def elbo_terms(self, images, noise, scale_floor=0.0, dropout=None, label=None) -> ElboTerms:
        """Computes equation 2 for integer images, with the given latent noise and, in training, `replica_dropout`.

        Over maps of latents the KL is exact at each position, given the sampled positions before. With a flow it is an
        estimate from the sample, which can be negative for an image (`TransformedNormal.kl_from`).
        """
        posteriors = self.q_z_given_x(images, label)
        samples = sample_posteriors(posteriors, noise)
        of_pixels, *of_latents = dropout or [None]
        kl = [
            objectives.sum_over_dimensions(prior.kl_from(posterior, z))
            for posterior, prior, z in zip(
                posteriors, self.priors(samples, scale_floor, of_latents, label), samples, strict=True
            )
        ]
        return objectives.elbo_terms(self.reconstruction(images, samples, of_pixels, label), kl)

    def log_importance_weight(self, images, posteriors, noise, label=None):
        """Returns log p(x, z) - log q(z | x) of each example at one sample of all latents, in nats."""
        samples = sample_posteriors(posteriors, noise)
        log_weight = -self.reconstruction(images, samples, label=label)
        for posterior, prior, z in zip(posteriors, self.priors(samples, label=label), samples, strict=True):
            log_weight += objectives.sum_over_dimensions(prior.log_prob(z))
            log_weight -= objectives.sum_over_dimensions(posterior.log_prob(z))
        return log_weight

    @own_settings()
    def call(self, images, noise=None, scale_floor=0.0, dropout=None, label=None):
        """Returns the terms of the bound of each image; by default with the noise of seed 0.

        Call the model like a layer, so that `training=True` reaches the batch normalization.
        """
        images = checks.images_in_graph(images, self.config)
        label = checks.label_in_graph(label, self.config)
        if noise is None:
            noise = latent_noise(self.config, ops.shape(images)[0], 0)
        return self.elbo_terms(images, noise, scale_floor, dropout, label)

    # The methods that Keras's `fit` and `evaluate` call.

    @own_settings()
    def compile(
        self,
        optimizer="adam",
        *,
        kl_warmup_steps: tuple[int, ...] = (0,),
        prior_scale_floor_steps: int = 0,
        clip_value: float = 0.0,
        clip_norm: float = 0.0,
        ema_decay: float = 0.0,
        dropout: float = 0.0,
        kl_weight: float = 1.0,
        free_bits: float = 0.0,
        compile_step: bool = False,
        seed: int = 0,
        **kwargs,
    ):
        """Configures training; see `TrainConfig` for the arguments, and Keras for others.

        Raises:
            UserError: for a value that is not allowed, a loss or metrics, or an argument that several replicas cannot
                honor.
        """
        settings = {
            "kl_warmup_steps": kl_warmup_steps,
            "prior_scale_floor_steps": prior_scale_floor_steps,
            "clip_value": clip_value,
            "clip_norm": clip_norm,
            "dropout": dropout,
            "kl_weight": kl_weight,
            "free_bits": free_bits,
            "compile_step": compile_step,
            "seed": seed,
        }
        checks.compile_arguments({**settings, "ema_decay": ema_decay}, kwargs)
        super().compile(optimizer=optimizer, **{"jit_compile": False, **kwargs})
        if self.distribute_strategy.num_replicas_in_sync > 1:
            replicas.check_compiled(self)
        # The constructor declares an attribute for each.
        for name, value in settings.items():
            setattr(self, name, tuple(value) if name == "kl_warmup_steps" else value)
        self.optimizer.build(self.trainable_variables)
        self.start_average(ema_decay)

    @property
    def metrics(self):
        return self.evaluation_metrics

    @own_settings()
    def train_step(self, data):
        """Takes a step on a batch of images. Returns the batch's means in nats and the step's settings.

        `data` comes from `fit`: images, alone or with labels, which only a model of classes uses, and weights of the
        examples.
        """
        images, label, weights_of_images = checks.batch_of(data, self.config)
        images = replicas.divided_evenly(images)
        if self.compile_step:
            # XLA leaves out the checks in a graph that it compiles whole.
            images = checks.images_in_graph(images, self.config)
            label = checks.label_in_graph(label, self.config)
        mean = replicas.batch_mean(weights_of_images)
        step = self.optimizer.iterations
        noise = replica_noise(self.config, tf.shape(images)[0], randomness.stream(self.seed, "training", step))
        dropped = self.replica_dropout(tf.shape(images)[0], step) if self.dropout else None
        weights = objectives.kl_weights(step, self.kl_warmup_steps, self.config.num_levels, self.kl_weight)
        scale_floor = objectives.scale_floor(step, self.prior_scale_floor_steps)
        learning_rate = ops.convert_to_tensor(self.optimizer.learning_rate)
        loss_scale = self.optimizer.scale_loss(1.0)
        variables = self.trainable_variables

        def of_batch():
            with tf.GradientTape() as tape:
                terms = self(images, noise=noise, scale_floor=scale_floor, dropout=dropped, label=label, training=True)
                loss = mean(objectives.training_loss(replicas.with_free_bits(terms, mean, self.free_bits), weights))
                scaled_loss = loss * loss_scale
            gradients = tape.gradient(scaled_loss, variables)
            clipped = replicas.clipped_gradients(gradients, self.clip_norm, self.clip_value, loss_scale)
            return loss, [mean(term) for term in terms.reported()], *clipped

        compiled = compiled_whole if self.compile_step else lambda function: function
        loss, terms, gradients, norm = compiled(of_batch)()

        def update():
            self.optimizer.apply(gradients, variables)

        (update if getattr(self.optimizer, "compile_update", False) else compiled(update))()
        if self.average is not None:
            compiled(self.average.update)(step - 1)
        return {
            "loss": loss,
            **dict(zip(self.term_names, terms, strict=True)),
            **dict(zip(self.weight_names, weights, strict=True)),
            "learning_rate": learning_rate,
            "gradient_norm": norm,
        }

    def replica_dropout(self, batch_size, step) -> list[dict]:
        """Draws the decoders' dropout at a step for this replica's rows, as arguments of their calls; pixels first."""
        seed = randomness.stream(self.seed, "dropout", step)
        sides = [shape[:2] for shape in (self.config.image_shape, *self.config.latent_shapes)]
        return [
            decoder.replica_dropout(sides[index], self.dropout, batch_size, randomness.stream(seed, "dropout", index))
            for index, decoder in enumerate([self.pixel_decoder, *self.latent_decoders])
        ]

    @own_settings()
    def test_step(self, data):
        """Returns the bound with full KL weight and its terms: running means over all examples so far, in nats.

        Running means give a short last batch its correct weight. `loss` is the bound.
        """
        images, label, weights_of_images = checks.batch_of(data, self.config)
        images = checks.images_in_graph(images, self.config)
        label = checks.label_in_graph(label, self.config)
        # The number of examples so far identifies the batch. It restarts with every evaluation.
        counted = tf.cast(self.evaluation_metrics[0].count.value, tf.int32)
        seed = randomness.stream(self.seed, "validation", counted)
        terms = self.elbo_terms(images, latent_noise(self.config, tf.shape(images)[0], seed), label=label)
        for metric, term in zip(self.evaluation_metrics, terms.reported(), strict=True):
            metric.update_state(term, sample_weight=weights_of_images)
        results = self.get_metrics_result()
        return {**results, "loss": results["bound"]}

    def predict_step(self, data):
        """Returns `ElboTerms` of a batch, with the noise of seed 0."""
        images, label, _ = checks.batch_of(data, self.config)
        return self(images, label=label)

    def make_train_function(self, force=False):
        if self.distribute_strategy.num_replicas_in_sync == 1:
            return super().make_train_function(force)
        if self.train_function is None or force:
            self.train_function = replicas.train_function(self, self.stop_flag)
        return self.train_function
