"""Calculates what training a model needs (weights, arithmetic, memory and time) from its graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from pixelvae_tf.benchmarks import graph_cost
from pixelvae_tf.config import ModelConfig
from pixelvae_tf.layers.masked_conv import MaskedConv2D
from pixelvae_tf.model import checks
from pixelvae_tf.sampling.noise import latent_noise

# The names in a record of the entries of `Flop`, per image.
_GFLOP = ("forward_gflop", "forward_gflop_unmasked", "step_gflop", "step_gflop_unmasked")


class Flop(NamedTuple):
    """Floating-point operations on a batch, of convolutions and matrix products; see `graph_cost.flop`.

    Attributes:
        forward: operations of the bound.
        forward_unmasked: the same without products with weights that masks set to zero, which are computed too.
        training_step: operations of the bound, its gradient and the optimizer.
        training_step_unmasked: the same without products with weights that masks set to zero.
    """

    forward: int
    forward_unmasked: int
    training_step: int
    training_step_unmasked: int


def flops(model, batch_size: int, step: tf.Graph | None = None) -> Flop:
    """Counts the arithmetic on a batch of a model that is compiled for training.

    Args:
        model: a `PixelVAE`.
        batch_size: number of images.
        step: the graph of its training step at this batch size, if it exists already.
    """
    forward = graph_cost.flop(_bound_graph(model, batch_size))
    hidden = 2 * batch_size * _hidden_taps(model)
    return Flop(forward, forward - hidden, *step_flops(model, batch_size, step))


def step_flops(model, batch_size: int, step: tf.Graph | None = None) -> tuple[int, int]:
    """Returns the last two entries of `flops`: a training step with and without weights that masks set to zero."""
    step = graph_cost.flop(step or step_graph(model, batch_size))
    return step, step - 2 * batch_size * _hidden_taps(model, with_gradients=True)


def _hidden_taps(model, with_gradients: bool = False) -> int:
    """Counts multiplications by masked weights in a pass over one image. Maps of masked layers have the image's sides.

    The gradients of the weights and of the inputs each need as many again; an image needs no gradient.
    """
    decoders = [model.pixel_decoder, *model.latent_decoders]
    shapes = [model.config.image_shape, *model.config.latent_shapes[:-1]]
    total = 0
    for decoder, (height, width, _) in zip(decoders, shapes, strict=True):
        of_image = decoder is model.pixel_decoder and not model.config.embedding_channels
        for layer in decoder._flatten_layers():
            if isinstance(layer, MaskedConv2D):
                passes = 2 if of_image and layer.mask_type == "A" else 3
                total += (passes if with_gradients else 1) * height * width * int(np.sum(layer.mask == 0))
    return total


def _bound_graph(model, batch_size: int) -> tf.Graph:
    def bound(data):
        images, label, _ = checks.batch_of(data, model.config)
        return model(images, noise=latent_noise(model.config, batch_size, 0), label=label, training=True)

    return _traced(bound, model, batch_size)


def step_graph(model, batch_size: int) -> tf.Graph:
    """Returns the graph of a training step on `batch_size` images."""
    return _traced(model.train_step, model, batch_size)


def _traced(function: Callable, model, batch_size: int) -> tf.Graph:
    return tf.function(function, autograph=False).get_concrete_function(batch_spec(model.config, batch_size)).graph


def batch_spec(config: ModelConfig, batch_size: int):
    """Returns the signature of a training batch: images, with labels for a model of classes."""
    images = tf.TensorSpec((batch_size, *config.image_shape), tf.uint8)
    return (images, tf.TensorSpec((batch_size,), tf.int32)) if config.num_classes else images


def labels(config: ModelConfig, count: int) -> tuple[np.ndarray, ...]:
    """Returns (labels,) that cycle through the classes, for `count` images; an empty tuple without classes."""
    return (np.arange(count, dtype="int32") % config.num_classes,) if config.num_classes else ()


def calculated(model, batch_size: int, device: graph_cost.Device = graph_cost.A100) -> dict[str, Any]:
    """Calculates the needs of training in the model's own precision.

    Args:
        model: compiled for training.
        batch_size: images per step.
        device: the device whose limits give the time.

    Returns:
        `parameters`; `forward_gflop`, `forward_gflop_unmasked`, `step_gflop` and `step_gflop_unmasked` per image;
        `state_bytes` of the weights, the optimizer and the averaged weights; `tensors_bytes`, the peak memory of a
        step's tensors; `device`, and `device_step_seconds`, the least time of a step on it.
    """
    step = step_graph(model, batch_size)
    gflop = [round(value / batch_size / 1e9, 6) for value in flops(model, batch_size, step)]
    return {
        "measure": "calculated",
        "precision": model.compute_dtype,
        "batch_size": batch_size,
        "parameters": model.count_params(),
        **dict(zip(_GFLOP, gflop, strict=True)),
        "state_bytes": state_bytes(model),
        "tensors_bytes": graph_cost.peak_bytes(step),
        "device": device.name,
        "device_step_seconds": round(graph_cost.seconds(step, device), 6),
    }


def state_bytes(model) -> int:
    """Returns the bytes of the weights, the optimizer's state, and the averaged weights."""
    averages = [] if model.average is None else model.average.averages
    kept = [*model.variables, *model.optimizer.variables, *averages]
    return sum(int(np.prod(variable.shape)) * tf.as_dtype(variable.dtype).size for variable in kept)
