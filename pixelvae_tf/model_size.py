"""What a model needs: weights, arithmetic, memory and time, calculated from its graph; and what two steps took here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from pixelvae_tf import graph_cost, sampling
from pixelvae_tf.data.preparation.memory import PeakMemory
from pixelvae_tf.layers.masked_conv import MaskedConv2D
from pixelvae_tf.objectives import bits_per_dim


class Flop(NamedTuple):
    """Floating-point operations on a batch, of convolutions and matrix products; see `graph_cost.flop`.

    Attributes:
        forward: of the bound.
        forward_unmasked: the same without what masks set to zero, which is computed all the same.
        training_step: of the bound, its gradient and the optimizer.
    """

    forward: int
    forward_unmasked: int
    training_step: int


def flops(model, batch_size: int) -> Flop:
    """Counts the arithmetic of a model that is compiled for training, on a batch."""
    return Flop(*_forward_flop(model, batch_size), graph_cost.flop(_step_graph(model, batch_size)))


def _forward_flop(model, batch_size: int) -> tuple[int, int]:
    """With and without what is multiplied by a masked weight."""
    forward = graph_cost.flop(_bound_graph(model, batch_size))
    return forward, forward - 2 * batch_size * _hidden_taps(model)


def _hidden_taps(model) -> int:
    """Multiplications by a masked weight in a pass over one image: masked layers keep the size of what they read."""
    decoders = [model.pixel_decoder, *model.latent_decoders]
    shapes = [model.config.image_shape, *model.config.latent_shapes[:-1]]
    return sum(
        height * width * int(np.sum(layer.mask == 0))
        for decoder, (height, width, _) in zip(decoders, shapes, strict=True)
        for layer in decoder._flatten_layers()
        if isinstance(layer, MaskedConv2D)
    )


def _bound_graph(model, batch_size: int) -> tf.Graph:
    def bound(images):
        return model(images, noise=sampling.latent_noise(model.config, batch_size, 0), training=True)

    return _traced(bound, model, batch_size)


def _step_graph(model, batch_size: int) -> tf.Graph:
    return _traced(model.train_step, model, batch_size)


def _traced(function: Callable, model, batch_size: int) -> tf.Graph:
    images = tf.TensorSpec((batch_size, *model.config.image_shape), tf.uint8)
    return tf.function(function, autograph=False).get_concrete_function(images).graph


def calculated(model, batch_size: int, device: graph_cost.Device = graph_cost.A100) -> dict[str, Any]:
    """What training needs by calculation, with the model's own precision.

    Args:
        model: compiled for training.
        batch_size: images a step.
        device: whose limits give the time.

    Returns:
        `parameters`; `forward_gflop`, `forward_gflop_unmasked` and `step_gflop` of an image; `state_bytes`, of weights
        and what the optimizer and the average keep of them; `tensors_bytes`, the most that a step's tensors hold at
        once; `device`, and `device_step_seconds`, in less than which it cannot take a step.
    """
    step = _step_graph(model, batch_size)
    flop = Flop(*_forward_flop(model, batch_size), graph_cost.flop(step))
    gflop = [round(value / batch_size / 1e9, 6) for value in flop]
    return {
        "measure": "calculated",
        "precision": model.compute_dtype,
        "batch_size": batch_size,
        "parameters": model.count_params(),
        **dict(zip(("forward_gflop", "forward_gflop_unmasked", "step_gflop"), gflop, strict=True)),
        "state_bytes": _state_bytes(model),
        "tensors_bytes": graph_cost.peak_bytes(step),
        "device": device.name,
        "device_step_seconds": round(graph_cost.seconds(step, device), 6),
    }


def _state_bytes(model) -> int:
    averages = [] if model.average is None else model.average.averages
    kept = [*model.variables, *model.optimizer.variables, *averages]
    return sum(int(np.prod(variable.shape)) * tf.as_dtype(variable.dtype).size for variable in kept)


def measured(build: Callable[[], Any], batch_size: int) -> dict[str, Any]:
    """Builds a model, takes two training steps and evaluates the bound on random images, on this machine.

    Args:
        build: makes the compiled model.
        batch_size: images a step.

    Returns:
        Seconds of building, of both steps and of the bound (the first of each is traced in its time), what came out,
        and the highest memory of this process, in MiB.
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
        step = tf.function(model.train_step, autograph=False)
        losses = [float(timed(name, lambda: step(tf.constant(images)))["loss"]) for name in ("step_1", "step_2")]
        elbo = timed("bound", lambda: np.mean(model.elbo(images, seed=0).elbo))
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


def measure(build: Callable[[str], Any], batch_size: int, measured_batch_size: int) -> Iterator[dict[str, Any]]:
    """What `measured` finds in float32, then what is `calculated` in both precisions.

    Args:
        build: from "float32" or "bfloat16" to a fresh model, compiled for training.
        batch_size: images a step, in the calculation.
        measured_batch_size: images a step, in the measurement.
    """
    yield measured(lambda: build("float32"), measured_batch_size)
    for precision in ("float32", "bfloat16"):
        yield calculated(build(precision), batch_size)


def table(rows: list[dict[str, Any]]) -> str:
    """The records as text for people."""
    lines = []
    for row in rows:
        values = dict(row)
        measure, precision, batch_size = (values.pop(name) for name in ("measure", "precision", "batch_size"))
        lines.append(f"{measure}, {precision}, batches of {batch_size}")
        lines += [f"  {name:28}{value}" for name, value in values.items()]
    return "\n".join(lines)
