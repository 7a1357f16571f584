"""Shared by all command lines: a quiet start, errors in one line, exit codes."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from pixelvae_tf.commandline.flags import parse
from pixelvae_tf.errors import UserError


def run(main: Callable[[], None], description: str) -> None:
    """Runs a command: parses its flags and calls `main`. A `UserError` ends it with one line and exit code 1.

    Args:
        main: the command. It checks its flags first and calls `start_tensorflow` before its slow imports.
        description: the first lines of its help.
    """
    try:
        parse(description)
        main()
    except UserError as error:
        _fail(error)
    except KeyboardInterrupt:
        _fail("interrupted")


def _fail(error) -> None:
    sys.stdout.flush()
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    sys.exit(1)


def start_tensorflow(first: Callable[[], Any] | None = None) -> Any:
    """Imports TensorFlow and starts its devices. Hides the notes of its C++ code, and shows them on failure.

    Args:
        first: called before the devices start, for example to join a cluster.

    Returns:
        The result of `first`.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as notes:
        stderr = os.dup(2)
        os.dup2(notes.fileno(), 2)
        try:
            import tensorflow as tf

            tf.get_logger().setLevel("ERROR")
            made = first() if first else None
            tf.config.list_physical_devices()
            tf.zeros(()).numpy()
            return made
        except UserError:
            raise
        except BaseException:
            os.dup2(stderr, 2)
            notes.seek(0)
            sys.stderr.write(notes.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def sampling_threads() -> None:
    """Gives each operation one thread: the `first` of a command that samples, for `start_tensorflow`.

    The sampler's operations are small, and it draws one shard of a batch on each core in parallel. Several threads for
    each operation would mostly spin while they wait: 100 MNIST images take 1.5 times as long on two cores.
    """
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
