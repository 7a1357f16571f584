"""Work on all cores: lists of records go to worker processes, a bounded number at a time, and return in order."""

from __future__ import annotations

import collections
import concurrent.futures.process
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
_CHUNKS_AHEAD = 3  # for each worker: enough that none waits, few enough that memory stays small


def map_in_order(function: Callable[[list], list], records: Iterable[Any], *, processes: int = 0) -> Iterator[Any]:
    """Applies `function` to lists of records in worker processes and yields its results one by one, in order.

    Args:
        function: takes a list and returns a list; picklable, from a module that imports quickly.
        records: read as they are needed, never all at once.
        processes: workers; 0 for one a core.

    Raises:
        DataError: where a worker process ends before its work.
    """
    processes = processes or cores()
    chunks = iter(functools.partial(_take, iter(records)), [])
    first = next(chunks, [])
    if len(first) < _CHUNK:
        yield from function(first)  # not worth a process
        return
    # Spawned, not forked: TensorFlow's threads do not survive a fork.
    settings = {"mp_context": multiprocessing.get_context("spawn"), "initializer": _begin}
    with concurrent.futures.ProcessPoolExecutor(processes, **settings) as pool:
        pending = collections.deque()
        try:
            for chunk in itertools.chain([first], chunks):
                pending.append(pool.submit(function, chunk))
                if len(pending) > processes * _CHUNKS_AHEAD:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        except concurrent.futures.process.BrokenProcessPool:
            raise DataError("a worker process was killed, perhaps for want of memory; run it again") from None
        finally:
            for future in pending:
                future.cancel()


def _begin() -> None:
    """An interrupt from the keyboard reaches all processes; the one that started the others answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def end_with_parent() -> None:
    """Ends this worker process when the one that started it ends, however that ends."""

    def wait() -> None:
        multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(1)  # nobody is left to answer to

    threading.Thread(target=wait, daemon=True).start()


def _take(records: Iterator[Any]) -> list[Any]:
    return list(itertools.islice(records, _CHUNK))
