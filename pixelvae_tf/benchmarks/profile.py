"""Measures the time of a training step by kind of operation, on a CPU."""

from __future__ import annotations

import pathlib
import re
import statistics
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow as tf

# No public module reads the profiler's files.
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from pixelvae_tf.benchmarks import tables, timing
from pixelvae_tf.benchmarks.requests import Profile
from pixelvae_tf.benchmarks.step import TrainingStep, variants
from pixelvae_tf.errors import UserError

# Patterns of "name:type" of an operation, or of the name of a loop that XLA compiled. The first match counts.
_KINDS = {
    "convolutions, forward": r":\w*Conv2D$",
    "convolutions, gradient of the inputs": r":\w*Conv2DBackpropInput$",
    "convolutions, gradient of the weights": r":\w*Conv2DBackpropFilter\w*$",
    "sums over positions, of the gradients of biases": r"gradient.*:(Sum|BiasAddGrad)$|^Sum",
    "gates, forward and backward": r"fusion(\.\d+)?$|/unit(_\d+)*/",
    "padding, and cutting off its gradient": r"masked.*:(Pad|Slice)\w*$",
    "sums of gradients where maps are read twice": r"gradient.*:(AddN|AddV2)$|^AddN",
    "optimizer and clipping": r"adam|clip_by|global_norm",
}
_REST = "all else"


def measure(request: Profile) -> Iterator[dict[str, Any]]:
    """Profiles a step of every variant in turns, with one thread per operation (`program.sampling_threads`).

    Yields:
        For each variant a record: milliseconds per step of each kind of operation (`parts`, medians over the turns),
        and their sum.

    Raises:
        UserError: on a GPU.
    """
    if timing.on_gpu():
        raise UserError("profile: measures CPUs; for a GPU use pixelvae_tf.train --profile_steps and TensorBoard")
    steps = [TrainingStep(request.run, variant) for variant in variants(request)]
    turns = [[_profiled(step) for step in steps] for _ in range(request.repeats)]
    for step, of_step in zip(steps, zip(*turns, strict=True), strict=True):
        medians = {kind: statistics.median(times[kind] for times in of_step) for kind in of_step[0]}
        milliseconds = {kind: round(value, 2) for kind, value in medians.items()}
        yield {**step.variant._asdict(), "ms": round(sum(medians.values()), 2), "parts": milliseconds}


def _profiled(step: TrainingStep) -> dict[str, float]:
    """Profiles one step. Returns the milliseconds of each kind of operation."""
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            step.take()
        (profile,) = pathlib.Path(folder).rglob("*.xplane.pb")
        times = _operations(xplane_pb2.XSpace.FromString(profile.read_bytes()))
    milliseconds = dict.fromkeys([*_KINDS, _REST], 0.0)
    for name, seconds in times.items():
        milliseconds[kind_of(name)] += 1e3 * seconds
    return milliseconds


def kind_of(name: str) -> str:
    """Returns the kind of an operation."""
    return next((kind for kind, pattern in _KINDS.items() if re.search(pattern, name)), _REST)


def _operations(space: xplane_pb2.XSpace) -> Counter[str]:
    """Sums the seconds of each operation, without operations inside it, over all threads of the host."""
    total: Counter[str] = Counter()
    for plane in space.planes:
        if plane.name.startswith("/host:CPU"):
            for line in plane.lines:
                events = ((event.offset_ps, event.duration_ps, event.metadata_id) for event in line.events)
                for metadata, picoseconds in own_times(events).items():
                    name = plane.event_metadata[metadata].name
                    # All other events are the scheduling of operations.
                    if re.search(r"[^:]:\w+$|fusion(\.\d+)?$", name) and not name.startswith("end:"):
                        total[name] += picoseconds / 1e12
    return total


def own_times(events: Iterable[tuple[int, int, Any]]) -> Counter:
    """Returns the time of each kind of event on a thread, without the events inside it.

    Args:
        events: start, duration and kind of each event.
    """
    total: Counter = Counter()
    around: list[tuple[int, Any]] = []
    for start, duration, kind in sorted(events, key=lambda event: (event[0], -event[1])):
        while around and start >= around[-1][0]:
            around.pop()
        if around:
            total[around[-1][1]] -= duration
        total[kind] += duration
        around.append((start + duration, kind))
    return total


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the records as a table of text."""
    return tables.aligned(tables.profile(rows))
