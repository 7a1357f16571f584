"""Measures the peak memory of this process and its workers."""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import threading

_SECONDS_BETWEEN = 0.1


class PeakMemory:
    """Watches the memory of this process and its children while its block runs.

    Attributes:
        mib: the peak in MiB; 0 if the system has no /proc.
    """

    def __init__(self):
        self.mib = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            processes = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
            self.mib = max(self.mib, round(sum(map(_resident, processes)) / 2**20))
            if self._done.wait(_SECONDS_BETWEEN):
                return


def _resident(process: int) -> int:
    """Returns the bytes of a process's own memory; 0 if it has ended or the system does not tell.

    Pages of a mapped database do not count: the system reclaims them when it needs memory.
    """
    try:
        status = pathlib.Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    sizes = dict(line.split(":", 1) for line in status.splitlines())
    return sum(int(sizes.get(name, "0 kB").split()[0]) * 1024 for name in ("RssAnon", "RssShmem"))
