"""What every command line shares: quiet start-up, errors in one line, exit codes."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from typing import Any

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
        code = 0
    except UserError as error:
        code = _told(error)
    except KeyboardInterrupt:
        code = _told("interrupted")
    except Exception:
        sys.excepthook(*sys.exc_info())
        code = 1
    _end(code)


def _told(error) -> int:
    sys.stdout.flush()
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return 1


def _end(code: int) -> None:
    """Ends the process as the interpreter does, but without taking the interpreter apart.

    A thread of TensorFlow that calls Python while it is taken apart waits for good, and so does whoever waits for
    that thread: the command would never end.
    """
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


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
