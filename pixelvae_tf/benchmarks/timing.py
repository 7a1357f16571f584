"""Times, rates and memory on the device at hand: the first GPU, else the CPU."""

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
# Sides of square matrices whose product keeps all units of the device busy, and takes it milliseconds.
_MATRIX_SIDE = {True: 8192, False: 2048}


class Time(NamedTuple):
    """Seconds on the clock, and of all threads of this process together."""

    wall: float
    cpu: float


def on_gpu() -> bool:
    """Whether there is a GPU, which then does the work."""
    return bool(tf.config.list_physical_devices("GPU"))


def in_turns(works: Sequence[Callable[[], Any]], repeats: int) -> list[list[Time]]:
    """Times every work so many times, all of them in each round: what else the machine does then slows all alike.

    Args:
        works: each ends by reading a result, and so waits for the device.
        repeats: rounds.

    Returns:
        For each work its times.
    """
    times: list[list[Time]] = [[] for _ in works]
    for _ in range(repeats):
        for work, own in zip(works, times, strict=True):
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            own.append(Time(time.perf_counter() - wall, time.process_time() - cpu))
    return times


def summary(times: Sequence[Time], calls: int = 1) -> dict[str, float]:
    """Milliseconds a call, `calls` of which were timed as one: the median, its spread, and the median of all threads'.

    The last says less of the device and more of the work: on a CPU that other work shares it stays what it was.
    """
    wall = [1e3 * each.wall / calls for each in times]
    cpu = [1e3 * each.cpu / calls for each in times]
    found = {"ms": statistics.median(wall), "ms_lowest": min(wall), "ms_highest": max(wall)}
    return {name: round(value, 3) for name, value in (found | {"cpu_ms": statistics.median(cpu)}).items()}


def matrix_product(precision: str) -> tuple[Callable[[], Any], int]:
    """A large square matrix product to time, and its floating-point operations: what the device can do at best."""
    side = _MATRIX_SIDE[on_gpu()]
    matrix = tf.cast(tf.random.stateless_normal((side, side), (0, 0)), precision)
    product = tf.function(lambda: tf.matmul(matrix, matrix)[0, 0], autograph=False)
    product().numpy()
    return lambda: product().numpy(), 2 * side**3


class Memory(NamedTuple):
    """MiB of tensors before a piece of work, and at most in it."""

    before: int
    peak: int


def memory_of(work: Callable[[], Any]) -> Memory:
    """Does a piece of work and says what memory its tensors took, by TensorFlow's allocator of the device.

    Where that does not count, as on a CPU without oneDNN, it is what this process held. The allocator of a CPU gives
    nothing back to the system, so that the process alone would show the largest piece of work so far.
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
    """Memory that more tensors may take: of the GPU, else of this machine; None where the system does not say."""
    if on_gpu():
        # Nothing public says how much the device has.
        from tensorflow.python.client import device_lib

        limits = [device.memory_limit for device in device_lib.list_local_devices() if device.device_type == "GPU"]
        return limits[0] - tf.config.experimental.get_memory_info(_GPU)["current"]
    try:
        lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    sizes = dict(line.split(":", 1) for line in lines)
    return int(sizes["MemAvailable"].split()[0]) * 1024
