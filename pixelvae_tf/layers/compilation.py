"""What XLA compiles inside graphs that are otherwise TensorFlow's own: the gates, and the samplers' loops over pixels.

Compiling pays in training and in sampling, not where a graph runs once: a small model's takes longer to compile than
to run.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator

import tensorflow as tf

_compiling = True


def compiled(function: Callable) -> Callable:
    """A function of tensors that XLA compiles, or not, as `compiling` says when a graph with it is traced."""
    of_xla = tf.function(function, jit_compile=True, autograph=False)

    @functools.wraps(function)
    def call(*arguments):
        return (of_xla if _compiling else function)(*arguments)

    return call


def is_compiling() -> bool:
    """Whether graphs that are traced now have XLA compile gates and loops."""
    return _compiling


@contextlib.contextmanager
def compiling(by_xla: bool) -> Iterator[None]:
    """Whether graphs that are traced in it have XLA compile gates and loops; outside of any, they do.

    Graphs that were traced before stay as they are.
    """
    global _compiling
    before, _compiling = _compiling, by_xla
    try:
        yield
    finally:
        _compiling = before
