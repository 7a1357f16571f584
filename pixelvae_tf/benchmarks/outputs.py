"""Compares output distributions of one model: progress of training, time of a step, and its memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from pixelvae_tf.benchmarks import tables, timing
from pixelvae_tf.benchmarks.convergence import trained, validation_images
from pixelvae_tf.benchmarks.requests import Outputs
from pixelvae_tf.benchmarks.step import TrainingStep, memory_record, variant_of
from pixelvae_tf.config import RunConfig
from pixelvae_tf.probability.distributions import parameters_per_color
from pixelvae_tf.probability.objectives import bits_per_dim
from pixelvae_tf.training.precision import with_precision


def measure(request: Outputs) -> Iterator[dict[str, Any]]:
    """Times a step with every distribution, in turns, and trains the run with each of them.

    Yields:
        For each distribution a record: the network's outputs per color, weights, milliseconds per step on random images
        (see `timing.summary`), images per second, memory in MiB, training steps, the mean training loss over the last
        tenth of them, and the validation bound in bits per dimension and its terms in nats per image.
    """
    runs = [_with_output(request.run, output) for output in request.distributions]
    steps = [TrainingStep(run, variant_of(run)) for run in runs]
    times = timing.in_turns([step.take for step in steps], request.repeats)
    records = [{**_of_step(step), **timing.summary(own)} for step, own in zip(steps, times, strict=True)]
    # Frees the memory of all steps before the first training.
    steps.clear()
    images = validation_images(request.run)
    for run, record in zip(runs, records, strict=True):
        training = run.training
        found = trained(run, images)
        # Times that were not measured in turns compare less well.
        found.pop("ms")
        yield {
            **record,
            "images_per_second": round(training.batch_size / record["ms"] * 1e3, 1),
            "seed": training.seed,
            "steps": training.steps,
            "bits_per_dim": round(bits_per_dim(found["bound"], run.model.num_dimensions), 4),
            **found,
        }


def _with_output(run: RunConfig, output: str) -> RunConfig:
    return with_precision(dataclasses.replace(run, model=dataclasses.replace(run.model, output_distribution=output)))


def _of_step(step: TrainingStep) -> dict[str, Any]:
    model = step.run.model
    output, components = model.output_distribution, model.mixture_components
    return {
        "output_distribution": output,
        "outputs_per_color": parameters_per_color(model.pixel_levels, output, components),
        "parameters": step.model.count_params(),
        "precision": step.variant.precision,
        "batch_size": step.variant.batch_size,
        **memory_record(step),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the records as a table of text."""
    return tables.aligned(tables.outputs(rows))
