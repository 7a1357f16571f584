"""Calculates what training a model needs, and measures two steps and a bound on this machine."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from pixelvae_tf.benchmarks import model_size
from pixelvae_tf.benchmarks.model_size import calculated
from pixelvae_tf.benchmarks.requests import PRECISIONS, Size
from pixelvae_tf.data.preparation.memory import PeakMemory
from pixelvae_tf.probability.objectives import bits_per_dim
from pixelvae_tf.training.run import build_model


def measured(build: Callable[[], Any], batch_size: int) -> dict[str, Any]:
    """Builds a model, takes two training steps and evaluates the bound on random images, on this machine.

    Args:
        build: makes the compiled model.
        batch_size: images per step.

    Returns:
        Seconds to build, for both steps and for the bound (the first step and the bound include tracing), the losses
        and the bound, and the peak memory of this process in MiB.
    """
    times = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = work()
        times[f"{name}_seconds"] = round(time.perf_counter() - started, 2)
        return result

    with PeakMemory() as memory:
        model = timed("build", build)
        shape = (batch_size, *model.config.image_shape)
        images = np.random.default_rng(0).integers(0, model.config.pixel_levels, shape, dtype="uint8")
        labels = model_size.labels(model.config, batch_size)
        batch = tf.nest.map_structure(tf.constant, (images, *labels) if labels else images)
        step = tf.function(model.train_step, autograph=False)
        losses = [float(timed(name, lambda: step(batch))["loss"]) for name in ("step_1", "step_2")]
        elbo = timed("bound", lambda: np.mean(model.elbo(images, 0, *labels).elbo))
    bits = bits_per_dim(-float(elbo), model.config.num_dimensions)
    return {
        "measure": "measured",
        "precision": model.compute_dtype,
        "batch_size": batch_size,
        **times,
        "losses_nats": [round(loss, 1) for loss in losses],
        "bound_bits_per_dim": round(bits, 3),
        "peak_memory_mib": memory.mib,
    }


def measure(request: Size) -> Iterator[dict[str, Any]]:
    """Yields the record of `measured` in float32, unless it has no images, then those of `calculated`.

    `calculated` is in both precisions, at the run's batch.
    """

    def build(precision: str):
        steps = dataclasses.replace(request.run.training, mixed_precision=precision)
        return build_model(dataclasses.replace(request.run, training=steps))

    if request.measured_batch_size:
        yield measured(lambda: build("float32"), request.measured_batch_size)
    for precision in PRECISIONS:
        yield calculated(build(precision), request.run.training.batch_size)


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the records as text."""
    lines = []
    for row in rows:
        values = dict(row)
        measure, precision, batch_size = (values.pop(name) for name in ("measure", "precision", "batch_size"))
        lines.append(f"{measure}, {precision}, batches of {batch_size}")
        lines += [f"  {name:28}{value}" for name, value in values.items()]
    return "\n".join(lines)
