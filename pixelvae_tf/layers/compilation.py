"""Compiles parts of TensorFlow's graphs with XLA: gates, the samplers' loops over pixels, and training steps if asked.

Compilation pays off in training and sampling. If a graph of a small model runs only once, compilation takes longer.

Also gives functions with custom gradients their own graph.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator

import tensorflow as tf

_compiling = True
_whole = False


def compiled(function: Callable) -> Callable:
    """Wraps a function of tensors. XLA compiles it if `compiling` says so when a graph that calls it is traced."""
    of_xla = tf.function(function, jit_compile=True, autograph=False)

    @functools.wraps(function)
    def call(*arguments):
        return (of_xla if _compiling else function)(*arguments)

    return call


def compiled_whole(function: Callable) -> Callable:
    """Wraps a function whose whole graph XLA compiles, whatever `compiling` says. XLA leaves out assertions."""

    @functools.wraps(function)
    def traced(*arguments):
        global _whole
        before, _whole = _whole, True
        try:
            return function(*arguments)
        finally:
            _whole = before

    return tf.function(traced, jit_compile=True, autograph=False)


def is_compiling_whole() -> bool:
    """Returns whether a graph is traced now that XLA compiles whole, which makes assertions useless."""
    return _whole


def is_compiling() -> bool:
    """Returns whether XLA compiles gates and loops in graphs that are traced now."""
    return _compiling


@contextlib.contextmanager
def compiling(by_xla: bool) -> Iterator[None]:
    """Sets whether XLA compiles gates and loops in graphs that are traced inside the block. Outside it does.

    Graphs that were traced before do not change.
    """
    global _compiling
    before, _compiling = _compiling, by_xla
    try:
        yield
    finally:
        _compiling = before


def traced_once(function: Callable) -> Callable:
    """Puts a function of tensors into its own graph, one for each set of shapes, which all other graphs share.

    This is for loops and for functions with a `tf.custom_gradient`. TensorFlow keeps every graph that calls
    `tf.custom_gradient` until the process ends: all graphs of a model, some 20 MB for every small model that a process
    has loaded. With this wrapper, it keeps only one small graph for each shape and type of the inputs, and frees the
    graphs that call it.

    Arguments that are not tensors are constants of the graph.
    """

    # The first arguments make a graph of its own for each way of compiling and for each set of shapes. TensorFlow would
    # reuse a graph of unknown sizes: its result has no static batch size, and its gradient does not sum over the axes
    # that turn out to have one element.
    @tf.function(autograph=False)
    def traced(_compiled, _shapes, *arguments):
        return function(*arguments)

    @functools.wraps(function)
    def call(*arguments):
        shapes = tuple(str(argument.shape) for argument in arguments if isinstance(argument, tf.Tensor))
        return traced(_compiling, shapes, *arguments)

    return call
