"""What every command line shares: quiet start-up, errors in one line, exit codes."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from typing import Any

from pixelvae_tf import files
from pixelvae_tf.commandline.flags import parse
from pixelvae_tf.errors import UserError


def run(main: Callable[[], None], description: str) -> None:
    """Runs a command: parses its flags, then calls `main`; a known error ends it with one line and exit code 1.

    Args:
        main: the command; it checks what it can, then calls `start_tensorflow` before its slow imports.
        description: what its help says first.
    """
    try:
        parse(description)
        main()
        sys.stdout.flush()
    except UserError as error:
        _fail(error)
    except KeyboardInterrupt:
        _fail("interrupted")
    except BrokenPipeError:
        _leave_stdout()
        sys.exit(1)
    except Exception as error:
        # A full disk or a lost permission may meet any file; other errors are bugs, whose traceback helps.
        told = files.explained(error)
        if told is None:
            raise
        _fail(told)
    finally:
        _ignore_interrupts()


def _ignore_interrupts() -> None:
    """The work is done or has failed: what ends the process now has nothing to save, and no traceback to show."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _leave_stdout() -> None:
    """Its reader has gone, or its disk is full: what is still to be written goes nowhere, without a complaint."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(error) -> None:
    try:
        sys.stdout.flush()
    except OSError:
        _leave_stdout()
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    sys.exit(1)


def start_tensorflow(first: Callable[[], Any] | None = None) -> Any:
    """Imports TensorFlow and wakes its devices without the notes that its C++ parts print; shows them on failure.

    Args:
        first: what has to happen before the devices wake, such as joining a cluster.

    Returns:
        What `first` returned.
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
    """For `start_tensorflow` of a command that samples: one thread an operation.

    The sampler's operations are small, and it draws parts of a batch side by side, one a core. Several threads for
    each operation would mostly wait for each other, busily: 100 MNIST images take 1.5 times as long on two cores.
    """
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
