"""`keras.Model.fit` over several replicas, on one machine or many."""

from __future__ import annotations

import tensorflow as tf


class DistributedFit:
    """Mixin of a `keras.Model`: makes `fit` run `train_step` on all replicas of the strategy of the model.

    Keras's own training function asks a multi-worker strategy for a reduction that it refuses. This one averages
    everything that `train_step` returns over all replicas, in one collective, so that every worker sees the means
    of the whole global batch. The model and its optimizer must be built before `fit`.

    Attributes:
        stop_flag: this worker's; `fit` reports as "stop" what part of the workers has set theirs.
    """

    stop_flag: StopFlag | None = None

    def make_train_function(self, force=False):
        if self.distribute_strategy.num_replicas_in_sync == 1:
            return super().make_train_function(force)
        if self.train_function is None or force:
            self.train_function = self._distributed_train_function()
        return self.train_function

    def _distributed_train_function(self):
        strategy, names = self.distribute_strategy, []

        def step(batch):
            results = dict(self.train_step(batch))
            if self.stop_flag is not None:
                results["stop"] = self.stop_flag.value
            names[:] = results
            return tf.stack([tf.cast(result, tf.float32) for result in results.values()])

        @tf.function(autograph=False, reduce_retracing=True)
        def train_function(iterator):
            results = strategy.run(step, args=(next(iterator),))
            means = strategy.reduce(tf.distribute.ReduceOp.MEAN, results, axis=None)
            return dict(zip(names, tf.unstack(means, len(names)), strict=True))

        return train_function

    def _maybe_symbolic_build(self, *args, **kwargs):
        """Does nothing: Keras would average a batch of integers over all workers, to find the shapes of it."""


class StopFlag:
    """One worker's wish to stop, which the training function reads; no part of the model's state."""

    def __init__(self):
        self.value = tf.Variable(0.0, trainable=False, name="stop")

    def set(self) -> None:
        """Asks all workers to stop after the next step."""
        self.value.assign(1.0)
