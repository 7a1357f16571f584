"""Measures the training step: its time, its arithmetic beside the device's limits, and its memory."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from pixelvae_tf.benchmarks import graph_cost, model_size, straightforward, tables, timing
from pixelvae_tf.benchmarks.requests import Step
from pixelvae_tf.config import ConfigError, RunConfig
from pixelvae_tf.errors import UserError
from pixelvae_tf.layers import units
from pixelvae_tf.networks.factory import NetworkFactory
from pixelvae_tf.training.precision import with_precision
from pixelvae_tf.training.run import build_model

_WARM_UP = 2


class Variant(NamedTuple):
    """One way to compute the step; see `Step` for the values."""

    implementation: str
    xla: str
    precision: str
    activations: str
    batch_size: int


def variants(request: Step) -> list[Variant]:
    """Returns every combination of the requested values. In a straightforward network XLA compiles no gates."""
    steps = with_precision(request.run).training
    stored = ("recomputed" if steps.recompute_blocks else "stored",)
    found = itertools.product(
        request.implementation,
        request.xla or ("all" if steps.compile_step else "elementwise",),
        request.precision or (steps.mixed_precision,),
        request.activations or stored,
        request.batch_sizes or (steps.batch_size,),
    )
    every = itertools.starmap(Variant, found)
    plain = (
        each._replace(xla="none") if each.implementation != "ours" and each.xla == "elementwise" else each
        for each in every
    )
    return list(dict.fromkeys(plain))


def variant_of(run: RunConfig) -> Variant:
    """Returns the variant that training itself uses."""
    return variants(Step(run=run))[0]


class TrainingStep:
    """A new model's training step on random images, ready to be timed. Every variant has the same images.

    Args:
        run: the model and its training.
        variant: how to compute the step; overrides the run.

    Attributes:
        memory: memory before the model is made, and the peak in its first steps.
        calculated_bytes: bytes of the weights and of the step's tensors, calculated from its graph; None if XLA
            compiles the whole step, as its graph does not show what XLA keeps.
        first_step_seconds: time of the first step, including tracing and compilation.

    Raises:
        UserError: if there is less free memory than calculated.
    """

    def __init__(self, run: RunConfig, variant: Variant):
        self.run = dataclasses.replace(
            run,
            training=dataclasses.replace(
                run.training,
                batch_size=variant.batch_size,
                mixed_precision=variant.precision,
                recompute_blocks=variant.activations == "recomputed",
                compile_step=variant.xla == "all",
            ),
        )
        self.variant = variant
        self.losses: list[Any] = []
        self.memory = timing.memory_of(self._start)

    def _start(self) -> None:
        started = time.perf_counter()
        self.model = build(self.run, self.variant.implementation)
        config = self.run.model
        shape = (self.variant.batch_size, *config.image_shape)
        step = tf.function(self.model.train_step, autograph=False)
        with units.plain_gates() if self.variant.xla == "none" else contextlib.nullcontext():
            self._step = step.get_concrete_function(model_size.batch_spec(config, shape[0]))
        self.graph = self._step.graph
        self.calculated_bytes = None
        if self.variant.xla != "all":
            self.calculated_bytes = model_size.state_bytes(self.model) + graph_cost.peak_bytes(self.graph)
            _check_fits(self.calculated_bytes, self.variant.batch_size)
        images = tf.constant(np.random.default_rng(0).integers(0, config.pixel_levels, shape, dtype="uint8"))
        labels = tuple(map(tf.constant, model_size.labels(config, shape[0])))
        self._batch = (images, *labels) if labels else images
        self.take()
        self.first_step_seconds = time.perf_counter() - started
        for _ in range(_WARM_UP - 1):
            self.take()

    def take(self, steps: int = 1) -> None:
        """Takes training steps and waits for the gradients of the last one."""
        for _ in range(steps):
            logs = self._step(self._batch)
            self.losses.append(logs["loss"])
        float(logs["gradient_norm"])


def build(run: RunConfig, implementation: str):
    """Builds the compiled model, with the same weights for both implementations.

    Raises:
        ConfigError: for the straightforward implementation of a model with classes or without masked stacks.
    """
    ours = build_model(run)
    if implementation == "ours":
        return ours
    if run.model.masked_blocks != "stacks" or not run.model.pixelcnn_layers:
        raise ConfigError("implementation='straightforward': is of masked stacks, which this model does not have")
    if run.model.num_classes:
        raise ConfigError("implementation='straightforward': is of models without classes; use --num_classes=0")
    model = build_model(run, functools.partial(NetworkFactory, stacks=straightforward.StraightforwardPixelCNN))
    straightforward.take_weights(model, ours)
    return model


def _check_fits(needed: int, batch_size: int) -> None:
    free = timing.free_bytes()
    if free is not None and needed > free:
        raise UserError(
            f"batch_size={batch_size}: a step takes {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free; use a "
            "smaller batch, --mixed_precision=bfloat16 or --recompute_blocks"
        )


def measure(request: Step) -> Iterator[dict[str, Any]]:
    """Times every variant in turns, and a square matrix product in each precision between them.

    Yields:
        For each variant a record: milliseconds per step (see `timing.summary`), images per second, GFLOP of a step (of
        convolutions and matrix products with unmasked weights, the same for every variant) and per second, the ratio to
        the rate of matrix products in the same precision, computed GFLOP of a step (including masked weights and
        recomputation), memory in MiB, and the losses of its steps.
    """
    steps = [TrainingStep(request.run, variant) for variant in variants(request)]
    flop_an_image = model_size.step_flops(build_model(request.run), 1)[1]
    products = {precision: timing.matrix_product(precision) for precision in {each.variant.precision for each in steps}}
    works = [lambda step=step: step.take(request.steps_a_repeat) for step in steps]
    times = timing.in_turns([*works, *(product for product, _ in products.values())], request.repeats)
    rates = {
        precision: flop / (timing.summary(own)["ms"] * 1e6)
        for (precision, (_, flop)), own in zip(products.items(), times[len(steps) :], strict=True)
    }
    for step, own in zip(steps, times, strict=False):
        found = timing.summary(own, request.steps_a_repeat)
        gflop = flop_an_image * step.variant.batch_size / 1e9
        rate = gflop / found["ms"] * 1e3
        yield {
            **step.variant._asdict(),
            **found,
            "images_per_second": round(step.variant.batch_size / found["ms"] * 1e3, 1),
            "step_gflop": round(gflop, 3),
            "computed_gflop": round(graph_cost.flop(step.graph) / 1e9, 3),
            "gflop_per_second": round(rate, 1),
            "matrix_gflop_per_second": round(rates[step.variant.precision], 1),
            "fraction_of_matrix_rate": round(rate / rates[step.variant.precision], 3),
            **memory_record(step),
            "first_step_seconds": round(step.first_step_seconds, 1),
            "losses_nats": [float(loss) for loss in step.losses],
        }


def memory_record(step: TrainingStep) -> dict[str, int | None]:
    """Returns the entries of a record about a step's memory, in MiB. What cannot be calculated is None."""
    calculated = step.calculated_bytes
    return {
        "memory_before_mib": step.memory.before,
        "peak_memory_mib": step.memory.peak,
        "calculated_memory_mib": None if calculated is None else round(calculated / 2**20),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the records as a table of text."""
    return tables.aligned(tables.step(rows))
