"""PixelVAE: a variational autoencoder whose decoder is a PixelCNN, for any number of latent levels.

    p(x, z1, ..., zL) = p(x | z1) p(z1 | z2) ... p(zL)          generation, top down
    q(z1, ..., zL | x) = q(z1 | x) q(z2 | z1) ... q(zL | zL-1)   inference, bottom up

The level of a latent is an index from 0: level 0 is z1.
"""

from __future__ import annotations

import contextlib
import functools
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from pixelvae_tf import objectives, randomness, sampling
from pixelvae_tf.averaging import WeightAverage
from pixelvae_tf.config import ModelConfig
from pixelvae_tf.distributions import (
    DiagonalGaussian,
    gaussian_from_parameters,
    logits_per_color,
    pixel_distribution,
    standard_normal_like,
)
from pixelvae_tf.layers.pixel_input import PixelInput
from pixelvae_tf.layers.weight_norm import Conv2D
from pixelvae_tf.networks.convolutional import ConvEncoder, LatentNetwork, Upsampler
from pixelvae_tf.networks.pixelcnn import PixelCNN
from pixelvae_tf.objectives import ElboTerms


class Encoding(NamedTuple):
    """What inference finds for a batch: a tuple over levels (z1 first) of (batch, channels) each."""

    mean: tuple
    scale: tuple
    sample: tuple


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class PixelVAE(keras.Model):
    """A PixelVAE, PixelCNN or VAE, as its configuration says.

    Args:
        config: the network.
        dtype: a Keras dtype policy; "mixed_bfloat16" computes in bfloat16 with float32 weights and losses.

    Images are integers 0..levels-1 of shape (batch, height, width, colors). Results are in nats an image, and a
    seed makes every random one repeatable.
    """

    def __init__(self, config: ModelConfig, **kwargs):
        super().__init__(**kwargs)
        self.config = config
        shared = {"weight_normalization": config.weight_normalization, "dtype": self.dtype_policy}
        output_channels = config.image_shape[-1] * logits_per_color(config.pixel_levels)
        self.pixel_input = PixelInput(config.pixel_levels, config.embedding_channels, dtype=self.dtype_policy)
        self.encoder = self.upsampler = self.pixelcnn = self.output_conv = None
        if config.num_levels:
            self.encoder = ConvEncoder(config.latent_channels[0], config.encoder_channels, name="encoder", **shared)
            if config.conditioning == "maps":
                self.upsampler = Upsampler(
                    config.image_shape[:2], config.upsampling_channels, name="upsampler", **shared
                )
        self.upper_posteriors, self.lower_priors = self._between_levels(shared)
        if config.pixelcnn_layers:
            self.pixelcnn = PixelCNN(
                output_channels,
                config.pixelcnn_channels,
                config.pixelcnn_layers,
                config.first_kernel_size,
                config.kernel_size,
                config.output_layers,
                colors=config.image_shape[-1],
                activation=config.activation,
                name="pixelcnn",
                **shared,
            )
        else:
            self.output_conv = Conv2D(output_channels, 1, name="output", **shared)
        self.part_names = ["bound", "reconstruction", *(f"kl_z{level + 1}" for level in range(config.num_levels))]
        self.evaluation_metrics = [keras.metrics.Mean(name=name) for name in self.part_names]
        self.average: WeightAverage | None = None
        self.build()

    def _between_levels(self, shared) -> tuple[list, list]:
        """The networks q(z_l+1 | z_l) and p(z_l | z_l+1) of neighbouring levels."""
        channels = self.config.latent_channels
        pairs = list(zip(channels[:-1], channels[1:], strict=True))
        posteriors = [
            LatentNetwork(upper, 4 * max(lower, upper), name=f"q_z{level + 2}_given_z{level + 1}", **shared)
            for level, (lower, upper) in enumerate(pairs)
        ]
        priors = [
            LatentNetwork(lower, 4 * max(lower, upper), name=f"p_z{level + 1}_given_z{level + 2}", **shared)
            for level, (lower, upper) in enumerate(pairs)
        ]
        return posteriors, priors

    def build(self, input_shape=None):
        """Creates all weights; the shapes follow from the configuration."""
        if self.built:
            return
        config = self.config
        images = (None, *config.image_shape)
        features = self.pixel_input.compute_output_shape(images)
        self.pixel_input.build(images)
        latents = [(None, channels) for channels in config.latent_channels]
        z1 = maps = None
        if config.num_levels:
            self.encoder.build(features)
            z1 = latents[0]
        if self.upsampler is not None:
            self.upsampler.build(z1)
            maps, z1 = (None, *config.image_shape[:2], config.upsampling_channels[0]), None
        for level, (posterior, prior) in enumerate(zip(self.upper_posteriors, self.lower_priors, strict=True)):
            posterior.build(latents[level])
            prior.build(latents[level + 1])
        if self.pixelcnn is None:
            self.output_conv.build(maps)
        else:
            self.pixelcnn.build(features, z1, maps)
        self.built = True

    # The conditional distributions of the model.

    def q_z1_given_x(self, images) -> DiagonalGaussian:
        """The approximate posterior of z1."""
        return gaussian_from_parameters(self.encoder(self.pixel_input(images)))

    def q_upper_given_lower(self, level: int, z) -> DiagonalGaussian:
        """The approximate posterior of the level above `level`, given a sample of `level`."""
        return gaussian_from_parameters(self.upper_posteriors[level](z))

    def p_lower_given_upper(self, level: int, z_upper) -> DiagonalGaussian:
        """The prior of `level`, given a sample of the level above it."""
        return gaussian_from_parameters(self.lower_priors[level](z_upper))

    def p_x_given_z1(self, images, z1):
        """The distribution of every pixel given z1 and the pixels before it in `images` (equation 1)."""
        maps = None if self.upsampler is None else self.upsampler(z1)
        if self.pixelcnn is None:
            logits = self.output_conv(maps)
        else:
            logits = self.pixelcnn(self.pixel_input(images), z=z1 if maps is None else None, maps=maps)
        return pixel_distribution(logits, self.config.pixel_levels)

    # The bound.

    def infer(self, q_z1: DiagonalGaussian | None, noise) -> tuple[list[DiagonalGaussian], list]:
        """Posteriors and samples of all levels, bottom up from q(z1 | x), with the given noise."""
        posteriors, samples = [], []
        for level in range(self.config.num_levels):
            posteriors.append(q_z1 if level == 0 else self.q_upper_given_lower(level - 1, samples[-1]))
            samples.append(posteriors[-1].sample(noise[level]))
        return posteriors, samples

    def priors(self, samples) -> list[DiagonalGaussian]:
        """p(z1 | z2), ..., p(zL) at the given samples; the topmost is standard normal."""
        below = [self.p_lower_given_upper(level, z) for level, z in enumerate(samples[1:])]
        return below + [standard_normal_like(z) for z in samples[-1:]]

    def reconstruction(self, images, samples):
        """-log p(x | z1) of each example, nats."""
        p_x = self.p_x_given_z1(images, samples[0] if samples else None)
        return -objectives.sum_over_dimensions(p_x.log_prob(images))

    def elbo_terms(self, images, noise) -> ElboTerms:
        """Equation 2 for a batch of integer images, with the given latent noise."""
        q_z1 = self.q_z1_given_x(images) if self.config.num_levels else None
        posteriors, samples = self.infer(q_z1, noise)
        kl = [
            objectives.sum_over_dimensions(posterior.kl(prior))
            for posterior, prior in zip(posteriors, self.priors(samples), strict=True)
        ]
        return objectives.elbo_terms(self.reconstruction(images, samples), kl)

    def log_importance_weight(self, images, q_z1, noise):
        """log p(x, z) - log q(z | x) of each example at one sample of all latents, nats."""
        posteriors, samples = self.infer(q_z1, noise)
        log_weight = -self.reconstruction(images, samples)
        for posterior, prior, z in zip(posteriors, self.priors(samples), samples, strict=True):
            log_weight += objectives.sum_over_dimensions(prior.log_prob(z) - posterior.log_prob(z))
        return log_weight

    # Training with Keras's `fit` and `evaluate`.

    def compile(
        self,
        optimizer="adam",
        *,
        kl_warmup_steps: int = 0,
        clip_value: float = 0.0,
        clip_norm: float = 0.0,
        ema_decay: float = 0.0,
        seed: int = 0,
        **kwargs,
    ):
        """Sets what `fit` optimises with; see `TrainConfig` for the arguments."""
        super().compile(optimizer=optimizer, **{"jit_compile": False, **kwargs})
        self.kl_warmup_steps = kl_warmup_steps
        self.clip_value = clip_value
        self.clip_norm = clip_norm
        self.seed = seed
        self.optimizer.build(self.trainable_variables)
        self.average = WeightAverage(self.trainable_variables, ema_decay) if ema_decay else None

    @property
    def metrics(self):
        return self.evaluation_metrics

    def train_step(self, data):
        """One step on a batch of images; returns the batch's means in nats and the step's settings."""
        images = _images_of(data)
        replica = tf.distribute.get_replica_context()
        step = self.optimizer.iterations
        seed = randomness.stream(randomness.stream(self.seed, "training", step), "training",
                                 replica.replica_id_in_sync_group)  # fmt: skip
        noise = sampling.latent_noise(self.config, tf.shape(images)[0], seed)
        weight = objectives.kl_weight(step, self.kl_warmup_steps)
        learning_rate = ops.convert_to_tensor(self.optimizer.learning_rate)
        with tf.GradientTape() as tape:
            terms = self.elbo_terms(images, noise)
            loss = ops.mean(objectives.training_loss(terms, weight))
        variables = self.trainable_variables
        gradients, norm = self._true_gradients(tape.gradient(loss, variables), replica)
        self.optimizer.apply(gradients, variables)
        if self.average is not None:
            self.average.update(step - 1)
        return {
            "loss": loss,
            **{name: ops.mean(part) for name, part in zip(self.part_names, _parts_of(terms), strict=True)},
            "kl_weight": weight,
            "learning_rate": learning_rate,
            "gradient_norm": norm,
        }

    def _true_gradients(self, gradients, replica):
        """Gradients of the mean over all replicas, clipped, as shares that the optimizer sums; and their norm.

        Clipping must see the gradient of the whole batch, and Keras clips each replica's before it adds them up.
        """
        replicas = replica.num_replicas_in_sync
        if replicas > 1:
            gradients = replica.all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
        norm = tf.linalg.global_norm(gradients)
        if self.clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, self.clip_norm, use_norm=norm)
        if self.clip_value:
            gradients = [tf.clip_by_value(gradient, -self.clip_value, self.clip_value) for gradient in gradients]
        return [gradient / replicas for gradient in gradients] if replicas > 1 else gradients, norm

    def test_step(self, data):
        """The bound with full KL weight; running means over examples, so that a short last batch counts right."""
        images = _images_of(data)
        # The number of examples so far numbers the batches, and starts again with every evaluation.
        counted = tf.cast(self.evaluation_metrics[0].count.value, tf.int32)
        seed = randomness.stream(self.seed, "validation", counted)
        terms = self.elbo_terms(images, sampling.latent_noise(self.config, tf.shape(images)[0], seed))
        for metric, part in zip(self.evaluation_metrics, _parts_of(terms), strict=True):
            metric.update_state(part)
        return self.get_metrics_result()

    @contextlib.contextmanager
    def evaluation_weights(self):
        """Puts the averaged weights in place for a `with` block, where there are any; gives "averaged" or "raw"."""
        if self.average is None:
            yield "raw"
        else:
            with self.average.applied():
                yield "averaged"

    def bound_graph(self):
        """The TensorFlow graph of the bound, for TensorBoard."""
        return self._elbo.get_concrete_function().graph

    # The public interface: integer images in, numbers and integer images out.

    def elbo(self, images, seed: int = 0) -> ElboTerms:
        """The bound of each image and its parts, nats.

        Args:
            images: integers 0..levels-1, (batch, height, width, colors).
            seed: of the latent noise.

        Returns:
            `ElboTerms` of (batch,) arrays; `elbo` is -(reconstruction + sum of kl).

        Raises:
            ValueError: for images of another shape, type or range.
        """
        return tf.nest.map_structure(np.asarray, self._elbo(self.checked_images(images), seed))

    def log_likelihood(self, images, importance_samples: int = 50, seed: int = 0) -> np.ndarray:
        """The importance-sampled estimate of log p(x) of each image, nats; exact for a model without latents.

        Args:
            images: integers 0..levels-1, (batch, height, width, colors).
            importance_samples: latent samples an image; in expectation a bound that rises with it.
            seed: of the latent noise.

        Returns:
            (batch,) float32.

        Raises:
            ValueError: for images of another shape, type or range, or fewer than one sample.
        """
        if importance_samples < 1:
            raise ValueError(f"importance_samples={importance_samples}: use 1 or more")
        images = self.checked_images(images)
        return np.asarray(self._log_likelihood(images, tf.constant(importance_samples), seed))

    def encode(self, images, seed: int = 0) -> Encoding:
        """Posterior means, scales and samples of every level.

        Args:
            images: integers 0..levels-1, (batch, height, width, colors).
            seed: of the samples.

        Returns:
            `Encoding` of tuples over levels, z1 first, of (batch, channels) arrays.

        Raises:
            ValueError: for images of another shape, type or range.
        """
        return tf.nest.map_structure(np.asarray, self._encode(self.checked_images(images), seed))

    def sample(self, num_samples: int, seed: int = 0) -> np.ndarray:
        """Draws images from the model: (num_samples, height, width, colors) uint8.

        Raises:
            ValueError: for fewer than one sample.
        """
        if num_samples < 1:
            raise ValueError(f"num_samples={num_samples}: use 1 or more")
        return np.asarray(self._sample(tf.constant(num_samples), seed))

    def reconstruct(self, images, seed: int = 0) -> np.ndarray:
        """Draws images from p(x | z1) at a posterior sample of z1 for each given image, uint8.

        Raises:
            ValueError: for images of another shape, type or range.
        """
        images = self.checked_images(images)
        return np.asarray(self._continue(images, tf.zeros((1, *self.config.image_shape), tf.bool), seed))

    def complete(self, images, keep_rows: int, seed: int = 0) -> np.ndarray:
        """Keeps the first rows of each image and draws the rest from the model, uint8.

        The latents are drawn from the posterior of the image whose lower rows are blank, since the model gives no
        posterior of a part of an image.

        Raises:
            ValueError: for images of another shape, type or range, or rows outside 0..height.
        """
        images = self.checked_images(images)
        height = self.config.image_shape[0]
        if not 0 <= keep_rows <= height:
            raise ValueError(f"keep_rows={keep_rows}: the images have {height} rows; use 0 to {height}")
        known = np.zeros((1, *self.config.image_shape), bool)
        known[:, :keep_rows] = True
        return np.asarray(self._continue(np.where(known, images, 0).astype("uint8"), known, seed))

    def checked_images(self, images) -> np.ndarray:
        """The images as a uint8 array. Raises ValueError for another shape, type or range."""
        images = np.asarray(images)
        shape, levels = self.config.image_shape, self.config.pixel_levels
        if images.ndim != 4 or images.shape[1:] != shape or not len(images):
            raise ValueError(f"images of shape {images.shape}: this model takes (batch, {', '.join(map(str, shape))})")
        if not np.issubdtype(images.dtype, np.integer):
            raise ValueError(f"images of type {images.dtype}: give integers 0..{levels - 1}, for example uint8")
        if images.size and (images.min() < 0 or images.max() >= levels):
            raise ValueError(f"pixels {images.min()}..{images.max()}: this model takes 0..{levels - 1}")
        return images.astype("uint8")

    # Graphs behind the public interface, traced once for all batch sizes.

    @functools.cached_property
    def _elbo(self):
        def elbo(images, seed):
            return self.elbo_terms(images, sampling.latent_noise(self.config, tf.shape(images)[0], seed))

        return self._traced(elbo, self._image_spec, _INTEGER)

    @functools.cached_property
    def _log_likelihood(self):
        def log_likelihood(images, importance_samples, seed):
            q_z1 = self.q_z1_given_x(images) if self.config.num_levels else None
            batch = tf.shape(images)[0]
            # Without latents every weight is the exact likelihood.
            repeats = importance_samples if self.config.num_levels else tf.ones_like(importance_samples)

            def add_sample(index, log_total):
                noise = sampling.latent_noise(self.config, batch, randomness.stream(seed, "latents", index))
                log_weight = self.log_importance_weight(images, q_z1, noise)
                return index + 1, objectives.accumulate_log_weight(log_total, log_weight)

            # One sample after another: memory does not grow with their number.
            _, log_total = tf.while_loop(
                lambda index, _: index < repeats, add_sample, (0, tf.fill([batch], -float("inf")))
            )
            return log_total - tf.math.log(tf.cast(repeats, tf.float32))

        return self._traced(log_likelihood, self._image_spec, _INTEGER, _INTEGER)

    @functools.cached_property
    def _encode(self):
        def encode(images, seed):
            q_z1 = self.q_z1_given_x(images) if self.config.num_levels else None
            noise = sampling.latent_noise(self.config, tf.shape(images)[0], seed)
            posteriors, samples = self.infer(q_z1, noise)
            return Encoding(tuple(q.mean for q in posteriors), tuple(q.scale for q in posteriors), tuple(samples))

        return self._traced(encode, self._image_spec, _INTEGER)

    @functools.cached_property
    def _sample(self):
        def sample(num_samples, seed):
            noise = sampling.draw_noise(self.config, num_samples, seed)
            z1 = sampling.sample_latents(self, noise.latents)
            return tf.cast(sampling.sample_pixels_naive(self, z1, noise.pixels), tf.uint8)

        return self._traced(sample, _INTEGER, _INTEGER)

    @functools.cached_property
    def _continue(self):
        def continue_images(images, known, seed):
            noise = sampling.draw_noise(self.config, tf.shape(images)[0], seed)
            q_z1 = self.q_z1_given_x(images) if self.config.num_levels else None
            z1 = q_z1.sample(noise.latents[0]) if self.config.num_levels else None
            return tf.cast(sampling.sample_pixels_naive(self, z1, noise.pixels, images, known), tf.uint8)

        known = tf.TensorSpec((1, *self.config.image_shape), tf.bool)
        return self._traced(continue_images, self._image_spec, known, _INTEGER)

    @property
    def _image_spec(self):
        return tf.TensorSpec((None, *self.config.image_shape), tf.uint8)

    def _traced(self, function, *signature):
        return tf.function(function, input_signature=signature, autograph=False)

    def call(self, images):
        """Scores images when the model is called like a layer: the bound of each, (batch,), nats, with seed 0."""
        return self.elbo_terms(images, sampling.latent_noise(self.config, tf.shape(images)[0], 0)).elbo

    def get_config(self):
        return {**super().get_config(), "config": self.config.to_dict()}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "config": ModelConfig.from_dict(config["config"])})


_INTEGER = tf.TensorSpec((), tf.int32)


def _images_of(data):
    """The images of what `fit` hands over, with or without a tuple around them."""
    return data[0] if isinstance(data, (tuple, list)) else data


def _parts_of(terms: ElboTerms) -> list:
    """What training and validation report, in the order of `part_names`: the bound, its distortion, its rates."""
    return [-terms.elbo, terms.reconstruction, *terms.kl]
