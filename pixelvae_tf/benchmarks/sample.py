"""Measures both samplers, beside one full pass of the decoders over the same images."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from pixelvae_tf.benchmarks import graph_cost, model_size
from pixelvae_tf.benchmarks.requests import Sample
from pixelvae_tf.model.pixelvae import PixelVAE
from pixelvae_tf.sampling import cached
from pixelvae_tf.sampling.naive import in_raster_order
from pixelvae_tf.sampling.noise import SamplingNoise, draw_noise


def measure(request: Sample) -> Iterator[dict[str, Any]]:
    """Times the samplers of a new model.

    The naive sampler's time is extrapolated from the first passes of its loop over pixels and colors; its loops over
    maps of latents do not count.

    Yields:
        For each batch size a record, in seconds.
    """
    config, calls = request.run.model, request.calls
    model = PixelVAE(config)
    total = config.num_dimensions if model.pixel_decoder.masked is not None else 1
    turns = min(request.naive_passes, total)
    forward, naive = _forward(model), _naive(model, turns)
    for batch_size in request.batch_sizes:
        noise = draw_noise(config, batch_size, seed=0)
        drawn = functools.partial(model.sample, label=(*model_size.labels(config, batch_size), None)[0])
        first, images = _timed(drawn, batch_size)
        fastest = _fastest(calls, drawn, batch_size)
        images = tf.constant(images)
        full = _fastest(calls, forward, images, noise.latents)
        scaled = _fastest(1, naive, images, noise) * total / turns
        yield {
            "image_shape": list(config.image_shape),
            "batch_size": batch_size,
            "full_pass_seconds": round(full, 4),
            "cached_seconds": round(fastest, 4),
            "cached_first_call_seconds": round(first, 2),
            "naive_seconds": round(scaled, 2),
            "naive_scaled_from": f"{turns} of {total} passes",
            "cached_to_full_pass": round(fastest / full, 2),
            "naive_to_cached": round(scaled / fastest, 1),
            "state_mib": round(_state_bytes(model, noise) / 2**20, 2),
            "full_pass_mib": round(_full_pass_bytes(forward, images, noise) / 2**20, 2),
        }


def _forward(model: PixelVAE):
    """Returns a function for one full pass of all decoders, as in training."""

    @tf.function(autograph=False, reduce_retracing=True)
    def forward(images, latents):
        label = _label(model, images)
        condition = model.pixel_decoder.condition(latents[0] if latents else None, label)
        return model.priors(list(latents), label=label)[:-1], model.p_x_given_z1(images, condition)

    return forward


def _naive(model: PixelVAE, turns: int):
    """Returns a function for the first `turns` passes of the naive sampler over pixels and colors."""
    order = tf.reshape(tf.range(model.config.num_dimensions), (1, *model.config.image_shape))

    @tf.function(autograph=False, reduce_retracing=True)
    def naive(images, noise):
        condition = _condition(model, noise)

        def redraw(values):
            return model.p_x_given_z1(values, condition).sample(noise.pixels)

        return in_raster_order(redraw, tf.cast(images, tf.int32), order, turns)

    return naive


def _condition(model: PixelVAE, noise: SamplingNoise) -> dict:
    """Returns the decoder's condition, with the noise of z1 in place of z1."""
    return model.pixel_decoder.condition(noise.latents[0] if noise.latents else None, _label(model, noise.pixels))


def _label(model: PixelVAE, images):
    """Returns a label for each image; None for a model without classes."""
    return tf.zeros(tf.shape(images)[0], tf.int32) if model.config.num_classes else None


def _state_bytes(model: PixelVAE, noise: SamplingNoise) -> int:
    """Returns the bytes that the cached sampler keeps between rows and between pixels."""
    if model.pixel_decoder.masked is None:
        return 0
    batch_size, _, columns, _ = noise.pixels.shape
    steps = model.pixel_decoder.incremental(**_condition(model, noise))
    pixels = cached.Pixels(model, 1.0)
    state = (cached.above_the_image(steps, pixels, columns, batch_size), steps.start_pixels(batch_size))
    return sum(array.shape.num_elements() * array.dtype.size for array in tf.nest.flatten(state))


def _full_pass_bytes(forward, images, noise: SamplingNoise) -> int:
    """Returns the peak memory of the tensors in a full pass, calculated from its graph."""
    return graph_cost.peak_bytes(_at_fixed_shapes(forward.python_function, images, noise.latents))


def _at_fixed_shapes(function: Callable[..., Any], *arguments) -> tf.Graph:
    signature = tf.nest.map_structure(lambda array: tf.TensorSpec(array.shape, array.dtype), arguments)
    return tf.function(function, autograph=False).get_concrete_function(*signature).graph


def _timed(call: Callable[..., Any], *arguments) -> tuple[float, Any]:
    started = time.perf_counter()
    result = tf.nest.map_structure(np.asarray, call(*arguments))
    return time.perf_counter() - started, result


def _fastest(calls: int, call: Callable[..., Any], *arguments) -> float:
    call(*arguments)
    return min(_timed(call, *arguments)[0] for _ in range(calls))


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the records as a table of text."""
    columns = {
        "images": "batch_size",
        "full pass": "full_pass_seconds",
        "cached": "cached_seconds",
        "first call": "cached_first_call_seconds",
        "naive": "naive_seconds",
        "cached/pass": "cached_to_full_pass",
        "naive/cached": "naive_to_cached",
        "state MiB": "state_mib",
        "pass MiB": "full_pass_mib",
    }
    lines = ["".join(f"{title:>14}" for title in columns)]
    lines += ["".join(f"{row[name]:>14}" for name in columns.values()) for row in rows]
    return "\n".join([*lines, f"seconds; naive scaled from {rows[0]['naive_scaled_from']}"])
