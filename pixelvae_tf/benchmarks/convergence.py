"""How far training comes: with this project's masked stacks or straightforward ones, by optimizer and precision."""

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
from pixelvae_tf.training.precision import with_precision


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
    """Trains every implementation by every optimizer in every precision from every seed, on the run's data.

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
    precisions = request.precision or (with_precision(request.run).training.mixed_precision,)
    asked = itertools.product(request.seeds, request.implementation, optimizers, precisions)
    for seed, implementation, optimizer, precision in asked:
        training = dataclasses.replace(training, seed=seed, optimizer=optimizer, mixed_precision=precision)
        model = build(dataclasses.replace(request.run, training=training), implementation)
        batches = data.training_batches(request.run.data, batch_size=training.batch_size, seed=seed)
        losses = _Losses()
        model.fit(batches, steps_per_epoch=training.steps, shuffle=False, verbose=0, callbacks=[losses])
        with model.evaluation_weights():
            parts = model.evaluate(images, verbose=0, return_dict=True)
        yield {
            "implementation": implementation,
            "optimizer": optimizer,
            "precision": precision,
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
