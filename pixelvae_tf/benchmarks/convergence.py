"""Compares the progress of training by implementation of the masked stacks, optimizer and precision."""

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
from pixelvae_tf.config import RunConfig
from pixelvae_tf.training.precision import with_precision


class _Losses(keras.callbacks.Callback):
    """Records the loss of every step, and the time of all steps after the first one."""

    def __init__(self):
        super().__init__()
        self.losses: list[float] = []
        self.started = self.ended = 0.0

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["loss"]))
        self.ended = time.perf_counter()
        self.started = self.started or self.ended

    def record(self) -> dict[str, Any]:
        later = max(1, len(self.losses) - 1)
        last = self.losses[-max(1, len(self.losses) // 10) :]
        return {"loss": round(float(np.mean(last)), 4), "ms": round(1e3 * (self.ended - self.started) / later, 1)}


def measure(request: Convergence) -> Iterator[dict[str, Any]]:
    """Trains every implementation with every optimizer in every precision from every seed, on the run's data.

    Yields:
        For each training a record: the seed, the steps and the images per step, and what `trained` finds.
    """
    training = request.run.training
    images = validation_images(request.run)
    optimizers = request.optimizers or (training.optimizer,)
    precisions = request.precision or (with_precision(request.run).training.mixed_precision,)
    asked = itertools.product(request.seeds, request.implementation, optimizers, precisions)
    for seed, implementation, optimizer, precision in asked:
        training = dataclasses.replace(training, seed=seed, optimizer=optimizer, mixed_precision=precision)
        yield {
            "implementation": implementation,
            "optimizer": optimizer,
            "precision": precision,
            "learning_rate": training.learning_rate,
            "seed": seed,
            "steps": training.steps,
            "batch_size": training.batch_size,
            **trained(dataclasses.replace(request.run, training=training), images, implementation),
        }


def validation_images(run: RunConfig):
    """Returns batches of a run's validation images, with labels for a model of classes."""
    training = run.training
    return data.evaluation_batches(
        run.data,
        "validation",
        batch_size=training.batch_size,
        max_examples=training.validation_examples,
        labelled=_labelled(run),
    )


def _labelled(run: RunConfig) -> bool:
    return data.classes_of_model(run.data, run.model.num_classes) is not None


def trained(run: RunConfig, images, implementation: str = "ours") -> dict[str, Any]:
    """Trains a run's model without a work directory.

    Args:
        run: the run, with a definite precision.
        images: the result of `validation_images`.
        implementation: implementation of the masked stacks; see `Convergence`.

    Returns:
        The mean training loss over the last tenth of the steps, the mean milliseconds of a step without the first one,
        and the validation bound and its terms in nats per image (with averaged weights, if the recipe averages).
    """
    training = run.training
    model = build(run, implementation)
    batches = data.training_batches(
        run.data,
        batch_size=training.batch_size,
        seed=training.seed,
        labelled=_labelled(run),
        augmentation=data.Augmentation(training.augmentation, training.augmentation_steps),
    )
    losses = _Losses()
    model.fit(batches, steps_per_epoch=training.steps, shuffle=False, verbose=0, callbacks=[losses])
    with model.evaluation_weights():
        bound_and_terms = model.evaluate(images, verbose=0, return_dict=True)
    # The "loss" of validation repeats the bound.
    terms = {name: round(float(value), 4) for name, value in bound_and_terms.items() if name != "loss"}
    return {**losses.record(), **terms}


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the records as a table of text."""
    return tables.aligned(tables.convergence(rows))
