"""Whether training comes as far with this project's masked stacks as with straightforward ones."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterator
from typing import Any

from pixelvae_tf import data
from pixelvae_tf.benchmarks import tables
from pixelvae_tf.benchmarks.requests import Convergence
from pixelvae_tf.benchmarks.step import build


def measure(request: Convergence) -> Iterator[dict[str, Any]]:
    """Trains every implementation from every seed, by the run's recipe on its data, and validates it.

    Yields:
        For each training a record: the seed, the steps and images a step, the validation bound and its parts in nats
        an image (of the averaged weights where the recipe keeps them), and the seconds of training and compiling.
    """
    training = request.run.training
    images = data.evaluation_batches(
        request.run.data, "validation", batch_size=training.batch_size, max_examples=training.validation_examples
    )
    for seed, implementation in itertools.product(request.seeds, request.implementation):
        training = dataclasses.replace(training, seed=seed)
        model = build(dataclasses.replace(request.run, training=training), implementation)
        batches = data.training_batches(request.run.data, batch_size=training.batch_size, seed=seed)
        started = time.perf_counter()
        model.fit(batches, steps_per_epoch=training.steps, shuffle=False, verbose=0)
        seconds = time.perf_counter() - started
        with model.evaluation_weights():
            parts = model.evaluate(images, verbose=0, return_dict=True)
        yield {
            "implementation": implementation,
            "seed": seed,
            "steps": training.steps,
            "batch_size": training.batch_size,
            **{name: round(float(value), 4) for name, value in parts.items()},
            "seconds": round(seconds, 1),
        }


def table(rows: list[dict[str, Any]]) -> str:
    """The records as a table for people."""
    return tables.aligned(tables.convergence(rows))
