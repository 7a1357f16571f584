"""An exponential moving average of a model's weights, kept beside them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf


class WeightAverage(tf.Module):
    """Averaged copies of variables; a `tf.train.Checkpoint` saves and restores them exactly.

    The decay starts low, (1 + n) / (10 + n) after n updates, so that the first, random weights are soon forgotten.

    Args:
        variables: the Keras variables to average, in the order of the model.
        decay: of the average, 0 < decay < 1.
    """

    def __init__(self, variables, decay: float):
        super().__init__(name="weight_average")
        self.decay = decay
        self.in_place = False
        self._variables = list(variables)
        self.averages = [
            # Every replica computes the same average, so that one of them may write it.
            tf.Variable(
                variable.value,
                trainable=False,
                name=variable.name,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
            for variable in self._variables
        ]

    def update(self, num_updates) -> None:
        """Moves the averages towards the present weights, after the update numbered `num_updates` from 0."""
        count = tf.cast(num_updates, tf.float32)
        keep = tf.minimum(self.decay, (1.0 + count) / (10.0 + count))
        for average, variable in zip(self.averages, self._variables, strict=True):
            average.assign(variable.value + keep * (average - variable.value))

    def values(self) -> list[np.ndarray]:
        """The averages, in the order of the variables."""
        return [average.numpy() for average in self.averages]

    def restart(self, values: Sequence[np.ndarray] | None = None) -> None:
        """Goes on from these averages; from the present weights where there are none."""
        present = [variable.numpy() for variable in self._variables]
        for average, value in zip(self.averages, present if values is None else values, strict=True):
            average.assign(value)

    @contextlib.contextmanager
    def applied(self):
        """Puts the averages into the model for the time of a `with` block, then the weights back, bit for bit."""
        weights = [variable.numpy() for variable in self._variables]
        for variable, average in zip(self._variables, self.averages, strict=True):
            variable.assign(average.numpy())
        self.in_place = True
        try:
            yield
        finally:
            self.in_place = False
            for variable, weight in zip(self._variables, weights, strict=True):
                variable.assign(weight)
