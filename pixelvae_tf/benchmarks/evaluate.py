"""Measures evaluation: images per second of the bound, and importance samples per second, together or one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pixelvae_tf.benchmarks import model_size, tables, timing
from pixelvae_tf.benchmarks.requests import Evaluate
from pixelvae_tf.model.graphs import Graphs
from pixelvae_tf.model.pixelvae import PixelVAE


def measure(request: Evaluate) -> Iterator[dict[str, Any]]:
    """Times the bound and the importance-sampled likelihood of random images in turns, as users call them, in float32.

    Yields:
        For each batch size a record: milliseconds of both, and of the likelihood with one sample at a time; images per
        second of the bound, importance samples per second (images times samples), and memory in MiB.
    """
    config, samples = request.run.model, request.importance_samples
    model = PixelVAE(config)
    one_by_one = Graphs(model, pixels_a_pass=1)
    for batch_size in request.batch_sizes:
        shape = (batch_size, *config.image_shape)
        images = np.random.default_rng(0).integers(0, config.pixel_levels, shape, dtype="uint8")
        given = model_size.labels(config, batch_size)
        works = [
            lambda images=images, given=given: model.elbo(images, 0, *given),
            lambda images=images, given=given: model.log_likelihood(images, samples, 0, *given),
            lambda images=images, given=given: np.asarray(one_by_one.log_likelihood(images, samples, 0, *given)),
        ]
        memory = timing.memory_of(lambda works=works: [work() for work in works])
        bound, importance, single = (timing.summary(times) for times in timing.in_turns(works, request.repeats))
        yield {
            "batch_size": batch_size,
            "importance_samples": samples,
            "bound_images_per_second": round(1e3 * batch_size / bound["ms"], 1),
            "importance_samples_per_second": round(1e3 * batch_size * samples / importance["ms"], 1),
            **{f"bound_{name}": value for name, value in bound.items()},
            **{f"importance_{name}": value for name, value in importance.items()},
            **{f"one_by_one_{name}": value for name, value in single.items()},
            "memory_before_mib": memory.before,
            "peak_memory_mib": memory.peak,
        }


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the records as a table of text."""
    return tables.aligned(tables.evaluate(rows))
