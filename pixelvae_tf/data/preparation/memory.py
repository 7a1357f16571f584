"""The memory that a piece of work takes at its highest, over this process and its workers."""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import threading

_SECONDS_BETWEEN = 0.1


class PeakMemory:
    """Watches the memory of this process and its children while its block runs.

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
    """Bytes of memory that are a process's own; 0 where it has ended or the system does not say.

    The pages of a mapped database are left out: the system takes them back when it needs them.
    """
    try:
        status = pathlib.Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    sizes = dict(line.split(":", 1) for line in status.splitlines())
    return sum(int(sizes.get(name, "0 kB").split()[0]) * 1024 for name in ("RssAnon", "RssShmem"))
