"""The memory that a piece of work takes at its highest, over this process and its workers."""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import threading

_SECONDS_BETWEEN = 0.1


class PeakMemory:
    """Watches the resident memory of this process and its children while its block runs.

    Attributes:
        mib: the highest sum seen, in MiB; 0 where the system has no /proc.
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
    """Bytes of a process's memory; 0 where it has ended or the system does not say."""
    try:
        pages = int(pathlib.Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
