"""What XLA compiles inside graphs that are otherwise TensorFlow's own: the gates, and the samplers' loops over pixels.

Compiling pays in training and in sampling, not where a graph runs once: a small model's takes longer to compile than
to run.

And what is a graph of its own inside them: functions with own gradients.
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


def traced_once(function: Callable) -> Callable:
    """A function of tensors with its own gradient (`tf.custom_gradient`), in a graph that all graphs share.

    TensorFlow keeps every graph that calls `tf.custom_gradient` for as long as the process lives: each of a model's
    graphs, and so some 20 MB for every small model that a process has loaded. A graph that calls this function is
    thrown away like any other. What is kept is one small graph for each shape and type of the inputs.

    Arguments that are no tensors are part of the graph.
    """

    # The first argument has a graph for each way of compiling what is inside.
    @tf.function(autograph=False)
    def traced(_, *arguments):
        return function(*arguments)

    @functools.wraps(function)
    def call(*arguments):
        return traced(_compiling, *arguments)

    return call
