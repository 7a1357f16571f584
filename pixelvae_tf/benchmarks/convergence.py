"""How far training comes: with this project's masked stacks or straightforward ones, and with either optimizer."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from pixelvae_tf import data
from pixelvae_tf.benchmarks import tables
from pixelvae_tf.benchmarks.requests import Convergence
from pixelvae_tf.benchmarks.step import build


class _Losses(keras.callbacks.Callback):
    """The loss of every step, and the time that the steps after the first one took."""

    def __init__(self):
        super().__init__()
        self.found: list[float] = []
        self.started = self.ended = 0.0

    def on_train_batch_end(self, batch, logs=None):
        self.found.append(float(logs["loss"]))
        self.ended = time.perf_counter()
        self.started = self.started or self.ended

    def record(self) -> dict[str, Any]:
        later = max(1, len(self.found) - 1)
        last = self.found[-max(1, len(self.found) // 10) :]
        return {"loss": round(float(np.mean(last)), 4), "ms": round(1e3 * (self.ended - self.started) / later, 1)}


def measure(request: Convergence) -> Iterator[dict[str, Any]]:
    """Trains every implementation by every optimizer from every seed, by the run's recipe on its data.

    Yields:
        For each training a record: the seed, the steps and images a step, the loss that is minimised, its mean over
        the last tenth of the steps, the validation bound and its parts, in nats an image (of the averaged weights
        where the recipe keeps them), and the mean milliseconds of a step, the first left out.
    """
    training = request.run.training
    images = data.evaluation_batches(
        request.run.data, "validation", batch_size=training.batch_size, max_examples=training.validation_examples
    )
    optimizers = request.optimizers or (training.optimizer,)
    for seed, implementation, optimizer in itertools.product(request.seeds, request.implementation, optimizers):
        training = dataclasses.replace(training, seed=seed, optimizer=optimizer)
        model = build(dataclasses.replace(request.run, training=training), implementation)
        batches = data.training_batches(request.run.data, batch_size=training.batch_size, seed=seed)
        losses = _Losses()
        model.fit(batches, steps_per_epoch=training.steps, shuffle=False, verbose=0, callbacks=[losses])
        with model.evaluation_weights():
            parts = model.evaluate(images, verbose=0, return_dict=True)
        yield {
            "implementation": implementation,
            "optimizer": optimizer,
            "learning_rate": training.learning_rate,
            "seed": seed,
            "steps": training.steps,
            "batch_size": training.batch_size,
            **losses.record(),
            **{name: round(float(value), 4) for name, value in parts.items()},
        }


def table(rows: list[dict[str, Any]]) -> str:
    """The records as a table for people."""
    return tables.aligned(tables.convergence(rows))
