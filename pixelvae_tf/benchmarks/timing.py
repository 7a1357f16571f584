"""Measures time, rates and memory on this machine's device: the first GPU, else the CPU."""

from __future__ import annotations

import gc
import pathlib
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from pixelvae_tf.data.preparation.memory import PeakMemory

_GPU, _CPU = "GPU:0", "CPU:0"
# Sides of square matrices whose product keeps all units of the device busy for milliseconds.
_MATRIX_SIDE = {True: 8192, False: 2048}


class Time(NamedTuple):
    """Seconds on the clock, and CPU seconds of all threads of this process."""

    wall: float
    cpu: float


def on_gpu() -> bool:
    """Returns whether there is a GPU, which then does the work."""
    return bool(tf.config.list_physical_devices("GPU"))


def in_turns(works: Sequence[Callable[[], Any]], repeats: int) -> list[list[Time]]:
    """Times each of `works` once in every round, so that other load on the machine slows all of them alike.

    Args:
        works: each ends by reading a result, which waits for the device.
        repeats: number of rounds.

    Returns:
        The times of each work.
    """
    times: list[list[Time]] = [[] for _ in works]
    for _ in range(repeats):
        for work, own in zip(works, times, strict=True):
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            own.append(Time(time.perf_counter() - wall, time.process_time() - cpu))
    return times


def summary(times: Sequence[Time], calls: int = 1) -> dict[str, float]:
    """Returns milliseconds per call: median, lowest and highest on the clock, and the median CPU time of all threads.

    Each time covers `calls` calls. CPU time describes the work rather than the machine: other load hardly changes it.
    """
    wall = [1e3 * each.wall / calls for each in times]
    cpu = [1e3 * each.cpu / calls for each in times]
    clock = {"ms": statistics.median(wall), "ms_lowest": min(wall), "ms_highest": max(wall)}
    return {name: round(value, 3) for name, value in (clock | {"cpu_ms": statistics.median(cpu)}).items()}


def matrix_product(precision: str) -> tuple[Callable[[], Any], int]:
    """Returns a large matrix product, which reaches the device's best rate, and its floating-point operations."""
    side = _MATRIX_SIDE[on_gpu()]
    matrix = tf.cast(tf.random.stateless_normal((side, side), (0, 0)), precision)
    product = tf.function(lambda: tf.matmul(matrix, matrix)[0, 0], autograph=False)
    product().numpy()
    return lambda: product().numpy(), 2 * side**3


class Memory(NamedTuple):
    """MiB of tensors before a piece of work, and their peak during it."""

    before: int
    peak: int


def memory_of(work: Callable[[], Any]) -> Memory:
    """Runs `work` and returns the memory of its tensors, as TensorFlow's allocator of the device counts it.

    On a CPU, oneDNN's allocator leaves out small tensors, such as those that the loops of LSTMs keep. If the allocator
    does not count at all, as on a CPU without oneDNN, this returns the memory of the process. That is less exact: the
    allocator returns nothing to the system, so the process shows the largest piece of work so far.
    """
    device = _GPU if on_gpu() else _CPU
    gc.collect()
    try:
        tf.config.experimental.reset_memory_stats(device)
    except (ValueError, tf.errors.OpError):
        with PeakMemory() as held:
            pass
        with PeakMemory() as watched:
            work()
        return Memory(held.mib, watched.mib)
    before = tf.config.experimental.get_memory_info(device)["current"]
    work()
    return Memory(*(round(size / 2**20) for size in (before, tf.config.experimental.get_memory_info(device)["peak"])))


def free_bytes() -> int | None:
    """Returns the free memory of the GPU, or else of this machine; None if the system does not tell."""
    if on_gpu():
        # No public function tells the memory of the device.
        from tensorflow.python.client import device_lib

        limits = [device.memory_limit for device in device_lib.list_local_devices() if device.device_type == "GPU"]
        return limits[0] - tf.config.experimental.get_memory_info(_GPU)["current"]
    try:
        lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    sizes = dict(line.split(":", 1) for line in lines)
    return int(sizes["MemAvailable"].split()[0]) * 1024
