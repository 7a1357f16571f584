"""Training steps over several replicas, on one machine or many: communication that `PixelVAE.train_step` needs."""

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
    """One worker's request to stop, which the training function reads. It is not part of the model's state."""

    def __init__(self):
        self.value = tf.Variable(0.0, trainable=False, name="stop")

    def set(self) -> None:
        """Asks all workers to stop after the next step."""
        self.value.assign(1.0)


def train_function(model: keras.Model, stop_flag: StopFlag | None) -> Callable:
    """Makes the function that `fit` calls with an iterator: `model.train_step` on all replicas of its strategy.

    Keras's own training function needs a reduction that multi-worker strategies refuse. This one averages all results
    of `train_step` over all replicas, in one collective, so every worker sees the means of the whole global batch.

    Args:
        model: built and compiled.
        stop_flag: this worker's flag; "stop" in the results is the fraction of workers that have set theirs.
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
    """Raises UserError for arguments of `compile` that several replicas cannot honor."""
    optimizer = model.optimizer
    refused = {
        "steps_per_execution": (model.steps_per_execution > 1, "leave it at 1"),
        "run_eagerly": (model.run_eagerly, "leave it False"),
        "compile_step": (model.compile_step, "leave it False; the gates are compiled anyway"),
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
    """Checks, when the graph runs, that all replicas have equally many images; returns this replica's.

    Only then is the mean over replicas the mean over images.
    """
    replica = tf.distribute.get_replica_context()
    replicas = replica.num_replicas_in_sync
    if replicas == 1 or images.shape[0] is not None:
        return images
    count = tf.cast(tf.shape(images)[0], tf.float32)
    total, squares = replica.all_reduce(tf.distribute.ReduceOp.SUM, [count, tf.square(count)])
    # The square of the sum equals the number of counts times the sum of squares only if all counts are equal.
    message = f"a batch does not divide over {replicas} replicas; use .batch(n, drop_remainder=True), n their multiple"
    return checks.require(images, tf.square(total) == replicas * squares, message)


def batch_mean(weights=None) -> Callable:
    """Returns a function from (batch,) values to this replica's contribution to their mean over the whole batch.

    The mean of its results over replicas is the (weighted) mean over the whole batch.

    Args:
        weights: (batch,) weights of the examples; None for equal weights. If all are 0, the mean is 0.
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
    """Returns the terms for the training loss, with free bits. The reported bound does not use them.

    Args:
        terms: the terms of this replica's images.
        mean: the result of `batch_mean`; a rate counts by its mean over the whole batch.
        free_bits: free nats of each level; 0 changes nothing.
    """
    if not free_bits or not terms.kl:
        return terms
    replica = tf.distribute.get_replica_context()
    means = [tf.stop_gradient(mean(rate)) for rate in terms.kl]
    if replica.num_replicas_in_sync > 1:
        means = replica.all_reduce(tf.distribute.ReduceOp.MEAN, means)
    return terms._replace(kl=objectives.with_free_bits(terms.kl, means, free_bits))


def clipped_gradients(gradients, clip_norm: float, clip_value: float, scale=1.0) -> tuple[list, tf.Tensor]:
    """Clips the gradients of the mean over all replicas. Returns shares for the optimizer to sum, and the norm.

    Clipping must see the gradient of the whole batch, but Keras clips each replica's gradient before it adds them.

    Args:
        gradients: gradients of this replica's loss times the scale.
        clip_norm: largest global norm; 0 does not clip.
        clip_value: largest absolute value of an element; 0 does not clip.
        scale: scale of the loss, by which the optimizer divides.
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
        # If gradients overflow, the optimizer skips the step and lowers the scale. Clipping must not hide infinities.
        finite = tf.math.is_finite(norm)
        gradients = [tf.where(finite, now, before) * scale for now, before in zip(gradients, given, strict=True)]
    return [gradient / replicas for gradient in gradients] if replicas > 1 else gradients, norm
