"""Code that all commands share: a quiet start, errors in one line, exit codes."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

from pixelvae_tf import files
from pixelvae_tf.commandline.flags import parse
from pixelvae_tf.errors import UserError

_TOGETHER_SECONDS = 1.0


def run(main: Callable[[], None], description: str) -> None:
    """Runs a command: parses its flags and calls `main`. A `UserError` ends it with one line and exit code 1.

    Args:
        main: the command. It checks its flags first and calls `start_tensorflow` before its slow imports.
        description: the first lines of its help.
    """
    try:
        parse(description)
        main()
        sys.stdout.flush()
        code = 0
    except UserError as error:
        code = _told(error)
    except KeyboardInterrupt as error:
        code = _told(str(error) or "interrupted")
    except BrokenPipeError:
        code = 1  # the reader of the output wants no more
    except Exception as error:
        # Any file can hit a full disk or a lost permission. Other errors are bugs, so their traceback helps.
        explained = files.explained(error)
        code = _told(explained) if explained else _traced()
    _ignore_interrupts()
    _end(code)


def end_tidily_on_signals() -> None:
    """Lets SIGTERM end a command as Ctrl-C does: its worker processes and temporary files go first.

    This is for commands that spend their time in Python. A signal has to wait for long work of TensorFlow.
    Ctrl-C and SIGTERM within a second of each other are one request. A later signal ends the process at once.
    """
    began = None

    def end(number, frame):
        nonlocal began
        if began is None:
            began = time.monotonic()
            raise KeyboardInterrupt("terminated" if number == signal.SIGTERM else "interrupted")
        if time.monotonic() - began > _TOGETHER_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        # Whoever starts a command may have it ignore a signal.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, end)


def _ignore_interrupts() -> None:
    """Ignores Ctrl-C from now on: the command is over, and a traceback would only confuse."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _traced() -> int:
    sys.excepthook(*sys.exc_info())
    return 1


def _told(error) -> int:
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return 1


def _end(code: int) -> None:
    """Ends the process as the interpreter does, but without finalizing the interpreter.

    A TensorFlow thread that calls Python during finalization blocks forever, and so does any code that waits for that
    thread: the command would hang.
    """
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def start_tensorflow(first: Callable[[], Any] | None = None, in_training: bool = False) -> Any:
    """Imports TensorFlow and starts its devices. Hides the messages of its C++ code, and shows them on failure.

    Args:
        first: called before the devices start, for example to join a cluster.
        in_training: whether GPUs may round the factors of float32 products to TF32 (10 bits), as TensorFlow does by
            default. Likelihoods and samples shall not depend on the device.

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
            tf.config.experimental.enable_tensor_float_32_execution(in_training)
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
    """Limits each operation to one thread. Commands that sample pass it to `start_tensorflow` as `first`.

    The sampler's operations are small, and it draws one shard of a batch on each core in parallel. More threads per
    operation would mostly spin and wait: 100 MNIST images would take 1.5 times as long on two cores.
    """
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
