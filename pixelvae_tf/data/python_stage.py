"""Python code inside a tf.data pipeline that cannot keep the interpreter from ending.

An interpreter that ends holds its lock for good. A pipeline that is still alive then, as after an error or where a
variable holds it, waits on its way out for calls that wait for that lock: the process would never end. So calls that
are made once the interpreter begins to end return at once, and it goes on when the pipelines have filled their
buffers and make no more.
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
    """The calls under way in all pipelines of the process."""

    def __init__(self):
        self.lock = threading.Lock()
        self.ending = False
        self.under_way = 0
        self.last = 0.0

    def begin(self) -> bool:
        """Notes a call; says whether there is still use for its result."""
        with self.lock:
            self.under_way += 1
            self.last = time.monotonic()
            return not self.ending

    def end(self) -> None:
        with self.lock:
            self.under_way -= 1
            self.last = time.monotonic()

    def come_to_rest(self) -> None:
        """Waits until no call is under way and none follows, some seconds at most."""
        self.ending = True
        start = time.monotonic()
        while (now := time.monotonic()) < start + _LONGEST_SECONDS:
            if not self.under_way and now > self.last + _QUIET_SECONDS:
                return
            time.sleep(0.01)


_CALLS = _Calls()


def python_stage(function: Callable[[np.ndarray], np.ndarray], image_shape: tuple[int, int, int]) -> Callable:
    """What `Dataset.map` takes for a Python function that makes images.

    Args:
        function: from a vector of records to (records, *image_shape) uint8; it may raise.
        image_shape: height, width, colors.
    """
    import tensorflow as tf

    # Registered after TensorFlow's own, so that it runs before them.
    atexit.unregister(_CALLS.come_to_rest)
    atexit.register(_CALLS.come_to_rest)

    def call(records: np.ndarray) -> np.ndarray:
        useful = _CALLS.begin()
        try:
            return function(records) if useful else np.zeros((len(records), *image_shape), np.uint8)
        finally:
            _CALLS.end()

    return lambda records: tf.numpy_function(call, [records], tf.uint8)
