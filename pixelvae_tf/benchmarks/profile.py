"""Where the training step spends its time: by the kind of its operations, on a CPU."""

from __future__ import annotations

import pathlib
import re
import statistics
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow as tf

# Nothing public reads what the profiler writes.
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from pixelvae_tf.benchmarks import tables, timing
from pixelvae_tf.benchmarks.requests import Profile
from pixelvae_tf.benchmarks.step import TrainingStep, variants
from pixelvae_tf.errors import UserError

# Of "name:type" of an operation, or the name of a loop that XLA compiled; the first that is found counts.
_PARTS = {
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
    """Profiles a step of every variant in turns, with one thread an operation (`program.sampling_threads`).

    Yields:
        For each variant a record: milliseconds a step of each part, medians over the turns, and their sum.

    Raises:
        UserError: where a GPU does the work.
    """
    if timing.on_gpu():
        raise UserError("profile: is of CPUs; for a GPU give pixelvae_tf.train --profile_steps, and see TensorBoard")
    steps = [TrainingStep(request.run, variant) for variant in variants(request)]
    turns = [[_profiled(step) for step in steps] for _ in range(request.repeats)]
    for step, found in zip(steps, zip(*turns, strict=True), strict=True):
        parts = {part: statistics.median(times[part] for times in found) for part in found[0]}
        milliseconds = {part: round(value, 2) for part, value in parts.items()}
        yield {**step.variant._asdict(), "ms": round(sum(parts.values()), 2), "parts": milliseconds}


def _profiled(step: TrainingStep) -> dict[str, float]:
    """Milliseconds of each part of one step."""
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            step.take()
        (found,) = pathlib.Path(folder).rglob("*.xplane.pb")
        times = _operations(xplane_pb2.XSpace.FromString(found.read_bytes()))
    parts = dict.fromkeys([*_PARTS, _REST], 0.0)
    for name, seconds in times.items():
        parts[part_of(name)] += 1e3 * seconds
    return parts


def part_of(name: str) -> str:
    """The part of a step that an operation belongs to."""
    return next((part for part, pattern in _PARTS.items() if re.search(pattern, name)), _REST)


def _operations(space: xplane_pb2.XSpace) -> Counter[str]:
    """Seconds of each operation by itself, over all threads of the host."""
    total: Counter[str] = Counter()
    for plane in space.planes:
        if plane.name.startswith("/host:CPU"):
            for line in plane.lines:
                events = ((event.offset_ps, event.duration_ps, event.metadata_id) for event in line.events)
                for metadata, picoseconds in own_times(events).items():
                    name = plane.event_metadata[metadata].name
                    # The rest is how operations are scheduled.
                    if re.search(r"[^:]:\w+$|fusion(\.\d+)?$", name) and not name.startswith("end:"):
                        total[name] += picoseconds / 1e12
    return total


def own_times(events: Iterable[tuple[int, int, Any]]) -> Counter:
    """The time of each kind of event on a thread without that of the events inside it.

    Args:
        events: start, duration and kind.
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
    """The records as a table for people."""
    return tables.aligned(tables.profile(rows))
