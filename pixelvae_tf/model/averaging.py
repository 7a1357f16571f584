"""An exponential moving average of a model's weights, saved with the weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf


class WeightAverage(tf.Module):
    """Averaged copies of variables; a `tf.train.Checkpoint` saves and restores them exactly.

    The decay starts low, (1 + n) / (10 + n) after n updates, to forget the random initial weights soon.

    Args:
        variables: the Keras variables to average, in the order of the model.
        decay: decay of the average, 0 < decay < 1.
    """

    def __init__(self, variables, decay: float):
        super().__init__(name="weight_average")
        self.decay = decay
        self.in_place = False
        self._variables = list(variables)
        self.averages = [
            # All replicas compute the same average, so one of them may write it.
            tf.Variable(
                variable.value,
                trainable=False,
                name=variable.name,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
            for variable in self._variables
        ]

    def update(self, num_updates) -> None:
        """Moves the averages towards the current weights, after update number `num_updates`, counted from 0."""
        count = tf.cast(num_updates, tf.float32)
        keep = tf.minimum(self.decay, (1.0 + count) / (10.0 + count))
        for average, variable in zip(self.averages, self._variables, strict=True):
            average.assign(variable.value + keep * (average - variable.value))

    def values(self) -> list[np.ndarray]:
        """Returns the averages, in the order of the variables."""
        return [average.numpy() for average in self.averages]

    def restart(self, values: Sequence[np.ndarray] | None = None) -> None:
        """Restarts from these averages, or from the current weights if `values` is None."""
        present = [variable.numpy() for variable in self._variables]
        for average, value in zip(self.averages, present if values is None else values, strict=True):
            average.assign(value)

    @contextlib.contextmanager
    def applied(self):
        """Puts the averages into the model for a `with` block, then restores the weights bit for bit."""
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


class AveragedModel(keras.Model):
    """A Keras model whose state includes averaged weights, once `start_average` was called.

    Attributes:
        average: the moving average of the weights, or None.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.average: WeightAverage | None = None
        # Averages from a loaded file, until `start_average` can use them.
        self._loaded_average: list[np.ndarray] | None = None

    def start_average(self, decay: float) -> None:
        """Starts an average of the weights, from a loaded file's averages if there are any. A decay of 0 removes it."""
        self.average = WeightAverage(self.trainable_variables, decay) if decay else None
        loaded, self._loaded_average = self._loaded_average, None
        if self.average is not None and loaded is not None:
            self.average.restart(loaded)

    @contextlib.contextmanager
    def evaluation_weights(self) -> Iterator[str]:
        """Uses the averaged weights, if there are any, in a `with` block; yields "averaged" or "raw"."""
        if self.average is None:
            yield "raw"
        else:
            with self.average.applied():
                yield "averaged"

    def save_own_variables(self, store):
        super().save_own_variables(store)
        # While the averages replace the weights, they are saved as the weights.
        if self.average is not None and not self.average.in_place:
            for index, value in enumerate(self.average.values()):
                store[f"average_{index}"] = value

    def load_own_variables(self, store):
        own = {name: store[name] for name in store.keys()}  # noqa: SIM118 - a store is not a dictionary
        averages = [own.pop(f"average_{index}") for index in range(sum(name.startswith("average_") for name in own))]
        self._loaded_average = [np.asarray(value) for value in averages] or None
        super().load_own_variables(own)

    def load_weights(self, filepath, *args, **kwargs):
        """Loads weights as Keras does. An average restarts from the file's averages, or else from its weights."""
        super().load_weights(filepath, *args, **kwargs)
        if self.average is not None:
            self.average.restart(self._loaded_average)
            self._loaded_average = None
