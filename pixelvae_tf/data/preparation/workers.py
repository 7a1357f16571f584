"""Maps a function over records in worker processes on all cores, in order and with bounded memory."""

from __future__ import annotations

import collections
import concurrent.futures.process
import contextlib
import functools
import itertools
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pixelvae_tf.data.schema import DataError
from pixelvae_tf.processor import cores

_CHUNK = 32
_CHUNKS_AHEAD = 3  # for each worker: enough that no worker waits, few enough to keep memory small


def map_in_order(function: Callable[[list], list], records: Iterable[Any], *, processes: int = 0) -> Iterator[Any]:
    """Applies `function` to lists of records in worker processes and yields its results one by one, in order.

    Args:
        function: takes a list and returns a list; picklable, from a module that imports quickly.
        records: read on demand, never all at once.
        processes: number of workers; 0 for one for each core.

    Raises:
        DataError: if a worker process dies.
    """
    processes = processes or cores()
    chunks = iter(functools.partial(_take, iter(records)), [])
    first = next(chunks, [])
    if len(first) < _CHUNK:
        yield from function(first)  # not worth a process
        return
    # Spawned, not forked: TensorFlow's threads do not survive a fork.
    settings = {"mp_context": multiprocessing.get_context("spawn"), "initializer": _begin}
    pool = concurrent.futures.ProcessPoolExecutor(processes, **settings)
    pending: collections.deque = collections.deque()
    try:
        for chunk in itertools.chain([first], chunks):
            with uninterrupted():
                pending.append(pool.submit(function, chunk))
            if len(pending) > processes * _CHUNKS_AHEAD:
                yield from _first_result(pending)
        while pending:
            yield from _first_result(pending)
    except concurrent.futures.process.BrokenProcessPool:
        raise DataError("a worker process was killed, perhaps for want of memory; run it again") from None
    finally:
        try:
            concurrent.futures.wait([future for future in pending if not future.cancel()])
        finally:
            with uninterrupted():
                pool.shutdown()


def _first_result(pending: collections.deque) -> list[Any]:
    """Waits for the first future's result, and then removes the future."""
    result = pending[0].result()
    pending.popleft()
    return result


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Delays what Ctrl-C and SIGTERM raise to the end of the block.

    It is for short steps that would otherwise stay half done. A process that waits for a half started worker, or for a
    task that is in only one of its lists, never ends.
    """
    came, handlers = [], {}
    # Only the main thread handles signals.
    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        handlers = {number: handler for number, handler in handlers.items() if callable(handler)}
    try:
        for number in handlers:
            signal.signal(number, lambda number, frame: came.append(number))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)


def _begin() -> None:
    """Prepares a worker process. It ignores keyboard interrupts, which reach all processes: the parent handles them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def end_with_parent() -> None:
    """Ends this worker process when its parent ends, for whatever reason."""

    def wait() -> None:
        multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(1)  # nobody is left to report to

    threading.Thread(target=wait, daemon=True).start()


def _take(records: Iterator[Any]) -> list[Any]:
    return list(itertools.islice(records, _CHUNK))
