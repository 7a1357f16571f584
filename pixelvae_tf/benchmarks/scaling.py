"""Measures how the training step's time and memory grow with one number at a time, beside the expected growth."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from pixelvae_tf.benchmarks import model_size, tables, timing
from pixelvae_tf.benchmarks.requests import Scaling
from pixelvae_tf.benchmarks.step import TrainingStep, memory_record, variant_of
from pixelvae_tf.config import RunConfig


def measure(request: Scaling) -> Iterator[dict[str, Any]]:
    """Times training steps with each value in place of the run's own. Values of one number take turns.

    Yields:
        For each value a record: milliseconds and GFLOP of a step, both also as multiples of the first value's; memory
        in MiB.
    """
    made: dict[RunConfig, TrainingStep] = {}
    for number in ("layers", "channels", "batches", "sides"):
        values = getattr(request, number)
        runs = [_with(request.run, number, value) for value in values]
        # For most numbers one of the values is the run's own.
        made |= {run: TrainingStep(run, variant_of(run)) for run in runs if run not in made}
        steps = [made[run] for run in runs]
        times = [timing.summary(own) for own in timing.in_turns([step.take for step in steps], request.repeats)]
        work = [model_size.step_flops(step.model, step.variant.batch_size, step.graph)[1] for step in steps]
        for value, step, own, flop in zip(values, steps, times, work, strict=True):
            yield {
                "number": number,
                "value": value,
                **own,
                "step_gflop": round(flop / 1e9, 3),
                "growth": round(own["ms"] / times[0]["ms"], 2),
                "expected_growth": round(flop / work[0], 2),
                **memory_record(step),
            }


def _with(run: RunConfig, number: str, value: int) -> RunConfig:
    """Returns the same run with one number changed."""
    if number == "batches":
        return dataclasses.replace(run, training=dataclasses.replace(run.training, batch_size=value))
    changes = {
        "layers": {"pixelcnn_layers": value},
        "channels": {"pixelcnn_channels": value},
        "sides": {"image_shape": (value, value, run.model.image_shape[-1])},
    }
    return dataclasses.replace(run, model=dataclasses.replace(run.model, **changes[number]))


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the records as a table of text."""
    return tables.aligned(tables.scaling(rows))
