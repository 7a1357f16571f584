"""Runs Python code inside a tf.data pipeline without blocking the exit of the interpreter.

At exit the interpreter takes its lock and keeps it. A pipeline that is still alive then (after an error, or because a
variable refers to it) waits for its Python calls, and these wait for the lock: the process would hang. So once the
exit begins, calls return at once, and the exit waits until the pipelines have filled their buffers and stop calling.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable

import numpy as np

_QUIET_SECONDS = 0.2  # without a call: the buffers are full
_LONGEST_SECONDS = 5.0


class _Calls:
    """Counts the calls that run now in all pipelines of the process."""

    def __init__(self):
        self.lock = threading.Lock()
        self.ending = False
        self.under_way = 0
        self.last = 0.0

    def begin(self) -> bool:
        """Counts a call. Returns whether its result is still needed."""
        with self.lock:
            self.under_way += 1
            self.last = time.monotonic()
            return not self.ending

    def end(self) -> None:
        with self.lock:
            self.under_way -= 1
            self.last = time.monotonic()

    def come_to_rest(self) -> None:
        """Waits until no call runs and none follows, for a few seconds at most."""
        self.ending = True
        start = time.monotonic()
        while (now := time.monotonic()) < start + _LONGEST_SECONDS:
            if not self.under_way and now > self.last + _QUIET_SECONDS:
                return
            time.sleep(0.01)


_CALLS = _Calls()


def python_stage(function: Callable[[np.ndarray], np.ndarray], image_shape: tuple[int, int, int]) -> Callable:
    """Wraps a Python function that makes images for `Dataset.map`.

    Args:
        function: maps a vector of records to (records, *image_shape) uint8; it may raise.
        image_shape: height, width, colors.
    """
    import tensorflow as tf

    # Handlers run in reverse order: registered after TensorFlow's own, this one runs before them.
    atexit.unregister(_CALLS.come_to_rest)
    atexit.register(_CALLS.come_to_rest)

    def call(records: np.ndarray) -> np.ndarray:
        useful = _CALLS.begin()
        try:
            return function(records) if useful else np.zeros((len(records), *image_shape), np.uint8)
        finally:
            _CALLS.end()

    return lambda records: tf.numpy_function(call, [records], tf.uint8)
