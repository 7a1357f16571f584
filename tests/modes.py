"""How graphs of the tests run."""

import contextlib
import warnings
from collections.abc import Iterator


def in_production() -> bool:
    """Whether graphs are optimized, and compiled by XLA, as they are for users."""
    from pixelvae_tf.layers.compilation import is_compiling

    return is_compiling()


@contextlib.contextmanager
def as_in_production(wanted: bool) -> Iterator[None]:
    """Runs graphs as users' are run, or as they are traced.

    Most tests run a graph once or twice, so that what makes it fast takes longer than the graph.
    """
    import tensorflow as tf

    from pixelvae_tf.layers.compilation import compiling

    before = tf.config.optimizer.get_experimental_options().get("disable_meta_optimizer", False)
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not wanted})
    try:
        with compiling(by_xla=wanted):
            yield
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": before})


@contextlib.contextmanager
def eagerly() -> Iterator[None]:
    """Runs functions op by op, for tests of what a few steps or passes compute: to trace a graph takes far longer."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Even though the `tf.config.experimental_run_functions_eagerly`")
            yield
    finally:
        tf.config.run_functions_eagerly(False)
