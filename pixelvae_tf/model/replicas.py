"""A training step over several replicas, on one machine or many: what `PixelVAE.train_step` needs of the others."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf
from keras import ops

from pixelvae_tf.errors import UserError
from pixelvae_tf.model import checks
from pixelvae_tf.probability import objectives
from pixelvae_tf.probability.objectives import ElboTerms


class StopFlag:
    """One worker's wish to stop, which the training function reads; not in the model's state."""

    def __init__(self):
        self.value = tf.Variable(0.0, trainable=False, name="stop")

    def set(self) -> None:
        """Asks all workers to stop after the next step."""
        self.value.assign(1.0)


def train_function(model: keras.Model, stop_flag: StopFlag | None) -> Callable:
    """What `fit` calls with an iterator: a step of `model.train_step` on all replicas of the model's strategy.

    Keras's own training function asks a multi-worker strategy for a reduction that it refuses. This one averages
    everything that `train_step` returns over all replicas, in one collective, so that every worker sees the means
    of the whole global batch.

    Args:
        model: built and compiled.
        stop_flag: this worker's; the share of the workers that have set theirs is returned as "stop".
    """
    strategy, names = model.distribute_strategy, []

    def step(batch):
        results = dict(model.train_step(batch))
        if stop_flag is not None:
            results["stop"] = stop_flag.value
        names[:] = results
        return tf.stack([tf.cast(result, tf.float32) for result in results.values()])

    @tf.function(autograph=False, reduce_retracing=True)
    def take_step(iterator):
        results = strategy.run(step, args=(next(iterator),))
        means = strategy.reduce(tf.distribute.ReduceOp.MEAN, results, axis=None)
        return dict(zip(names, tf.unstack(means, len(names)), strict=True))

    return take_step


def check_compiled(model: keras.Model) -> None:
    """Refuses what several replicas cannot honour of `compile`. Raises UserError that names it and the remedy."""
    optimizer = model.optimizer
    refused = {
        "steps_per_execution": (model.steps_per_execution > 1, "leave it at 1"),
        "run_eagerly": (model.run_eagerly, "leave it False"),
        "jit_compile": (model.jit_compile, "leave it False; the gates are compiled anyway"),
        "mixed_float16": (
            isinstance(optimizer, keras.optimizers.LossScaleOptimizer),
            "its loss scale is of one device; use mixed_bfloat16",
        ),
        "gradient_accumulation_steps": (optimizer.gradient_accumulation_steps, "use larger batches"),
        "ema_overwrite_frequency": (optimizer.ema_overwrite_frequency, "use ema_decay of compile"),
        "clipnorm, clipvalue, global_clipnorm of the optimizer": (
            optimizer.clipnorm or optimizer.clipvalue or optimizer.global_clipnorm,
            "they see one replica's gradient; use clip_norm or clip_value of compile",
        ),
    }
    for name, (given, remedy) in refused.items():
        if given:
            raise UserError(f"{name}: not with several replicas; {remedy}")


def divided_evenly(images):
    """The images of this replica, which when the graph runs must be as many as every other's.

    The mean over replicas is the mean over images in that case alone.
    """
    replica = tf.distribute.get_replica_context()
    replicas = replica.num_replicas_in_sync
    if replicas == 1 or images.shape[0] is not None:
        return images
    count = tf.cast(tf.shape(images)[0], tf.float32)
    total, squares = replica.all_reduce(tf.distribute.ReduceOp.SUM, [count, tf.square(count)])
    # Equal counts alone have the square of their sum as great as their number times the sum of their squares.
    message = f"a batch does not divide over {replicas} replicas; use .batch(n, drop_remainder=True), n their multiple"
    return checks.require(images, tf.square(total) == replicas * squares, message)


def batch_mean(weights=None) -> Callable:
    """A function of (batch,) values: this replica's share of their mean over the whole batch.

    The mean over replicas of what it gives is the (weighted) mean over the whole batch.

    Args:
        weights: (batch,) of the examples; None where all weigh the same. Weights that are all 0 give 0.
    """
    if weights is None:
        return ops.mean
    replica = tf.distribute.get_replica_context()
    weights = ops.cast(weights, "float32")
    total = ops.sum(weights)
    if replica.num_replicas_in_sync > 1:
        total = replica.all_reduce(tf.distribute.ReduceOp.MEAN, total)
    return lambda values: tf.math.divide_no_nan(ops.sum(weights * values), total)


def with_free_bits(terms: ElboTerms, mean: Callable, free_bits: float) -> ElboTerms:
    """The terms as the training loss counts them; what is reported stays the full bound.

    Args:
        terms: of this replica's images.
        mean: from `batch_mean`; a rate counts by its mean over the whole batch.
        free_bits: nats of each level that cost nothing; 0 changes nothing.
    """
    if not free_bits or not terms.kl:
        return terms
    replica = tf.distribute.get_replica_context()
    means = [tf.stop_gradient(mean(rate)) for rate in terms.kl]
    if replica.num_replicas_in_sync > 1:
        means = replica.all_reduce(tf.distribute.ReduceOp.MEAN, means)
    return terms._replace(kl=objectives.with_free_bits(terms.kl, means, free_bits))


def clipped_gradients(gradients, clip_norm: float, clip_value: float, scale=1.0) -> tuple[list, tf.Tensor]:
    """Gradients of the mean over all replicas, clipped, as shares that the optimizer sums; and their norm.

    Clipping must see the gradient of the whole batch, and Keras clips each replica's before it adds them up.

    Args:
        gradients: of this replica's loss times the scale.
        clip_norm: greatest global norm; 0 does not clip.
        clip_value: greatest absolute value of an element; 0 does not clip.
        scale: of the loss, by which the optimizer divides.
    """
    replica = tf.distribute.get_replica_context()
    replicas = replica.num_replicas_in_sync
    is_scaled = not (isinstance(scale, float) and scale == 1.0)
    if replicas > 1:
        gradients = replica.all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
    if is_scaled:
        gradients = [gradient / scale for gradient in gradients]
    norm, given = tf.linalg.global_norm(gradients), gradients
    if clip_norm:
        gradients, _ = tf.clip_by_global_norm(gradients, clip_norm, use_norm=norm)
    if clip_value:
        gradients = [tf.clip_by_value(gradient, -clip_value, clip_value) for gradient in gradients]
    if is_scaled:
        # The optimizer skips a step whose gradients overflow, and lowers the scale; a clipped infinity would hide that.
        finite = tf.math.is_finite(norm)
        gradients = [tf.where(finite, now, before) * scale for now, before in zip(gradients, given, strict=True)]
    return [gradient / replicas for gradient in gradients] if replicas > 1 else gradients, norm
