"""What Keras's `fit` and `evaluate` call: the training step, the validation step, and the averaged weights."""

from __future__ import annotations

import contextlib

import keras
import tensorflow as tf
from keras import ops

from pixelvae_tf.config import TrainConfig
from pixelvae_tf.layers.dropout import replica_factors
from pixelvae_tf.model.averaging import WeightAverage
from pixelvae_tf.probability import objectives, randomness
from pixelvae_tf.probability.objectives import ElboTerms
from pixelvae_tf.sampling.noise import latent_noise, replica_noise


class Fitting:
    """Mixin of a `keras.Model` that gives `ElboTerms` when it is called with images and noise."""

    def prepare_fitting(self) -> None:
        """Names what training and validation report."""
        self.part_names = ["bound", "reconstruction", *(f"kl_z{n + 1}" for n in range(self.config.num_levels))]
        self.weight_names = [f"kl_weight_z{n + 1}" for n in range(self.config.num_levels)]
        self.evaluation_metrics = [keras.metrics.Mean(name=name) for name in self.part_names]
        self.average: WeightAverage | None = None

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
        seed: int = 0,
        **kwargs,
    ):
        """Sets what `fit` optimises with; see `TrainConfig` for the arguments.

        Raises:
            ConfigError: for a value of `dropout`, `kl_weight` or `free_bits` that `TrainConfig` refuses.
        """
        TrainConfig(dropout=dropout, kl_weight=kl_weight, free_bits=free_bits)
        super().compile(optimizer=optimizer, **{"jit_compile": False, **kwargs})
        self.kl_warmup_steps = tuple(kl_warmup_steps)
        self.prior_scale_floor_steps = prior_scale_floor_steps
        self.clip_value = clip_value
        self.clip_norm = clip_norm
        self.dropout = dropout
        self.kl_weight = kl_weight
        self.free_bits = free_bits
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
        noise = replica_noise(self.config, tf.shape(images)[0], randomness.stream(self.seed, "training", step))
        dropped = self.replica_dropout(tf.shape(images)[0], step) if self.dropout else None
        weights = objectives.kl_weights(step, self.kl_warmup_steps, self.config.num_levels, self.kl_weight)
        scale_floor = objectives.scale_floor(step, self.prior_scale_floor_steps)
        learning_rate = ops.convert_to_tensor(self.optimizer.learning_rate)
        with tf.GradientTape() as tape:
            terms = self(images, noise=noise, scale_floor=scale_floor, dropout=dropped, training=True)
            loss = ops.mean(objectives.training_loss(self._with_free_bits(terms, replica), weights))
        variables = self.trainable_variables
        gradients, norm = self._true_gradients(tape.gradient(loss, variables), replica)
        self.optimizer.apply(gradients, variables)
        if self.average is not None:
            self.average.update(step - 1)
        return {
            "loss": loss,
            **{name: ops.mean(part) for name, part in zip(self.part_names, parts_of(terms), strict=True)},
            **dict(zip(self.weight_names, weights, strict=True)),
            "learning_rate": learning_rate,
            "gradient_norm": norm,
        }

    def _with_free_bits(self, terms: ElboTerms, replica) -> ElboTerms:
        """The terms as the training loss counts them; what is reported stays the full bound."""
        if not self.free_bits or not terms.kl:
            return terms
        means = [tf.stop_gradient(ops.mean(rate)) for rate in terms.kl]
        if replica.num_replicas_in_sync > 1:
            means = replica.all_reduce(tf.distribute.ReduceOp.MEAN, means)
        return terms._replace(kl=objectives.with_free_bits(terms.kl, means, self.free_bits))

    def replica_dropout(self, batch_size, step) -> list[dict]:
        """What the decoders drop at a step on this replica's rows, as their calls take it: pixels, z1, z2, ..."""
        seed = randomness.stream(self.seed, "dropout", step)
        found = []
        for index, decoder in enumerate([self.pixel_decoder, *self.latent_decoders]):
            factors = []
            if decoder.masked is not None:
                height, width, _ = self.config.latent_shapes[index - 1] if index else self.config.image_shape
                blocks, filters = decoder.masked.residual_blocks
                own_seed = randomness.stream(seed, "dropout", index)
                shape, dtype = (blocks, height, width, filters), decoder.compute_dtype
                factors = replica_factors(shape, self.dropout, batch_size, own_seed, dtype)
            found.append({"dropout": factors} if factors else {})
        return found

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
        terms = self.elbo_terms(images, latent_noise(self.config, tf.shape(images)[0], seed))
        for metric, part in zip(self.evaluation_metrics, parts_of(terms), strict=True):
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


def _images_of(data):
    """The images of what `fit` hands over, with or without a tuple around them."""
    return data[0] if isinstance(data, (tuple, list)) else data


def parts_of(terms: ElboTerms) -> list:
    """What training and validation report, in the order of `part_names`: the bound, its distortion, its rates."""
    return [-terms.elbo, terms.reconstruction, *terms.kl]
