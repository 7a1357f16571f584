"""Allows only one training at a time in a work directory.

The operating system locks an open file (`flock`), releases the lock whenever the process ends, and shares it between
hosts over NFS. On a file system without locks nothing keeps two trainings apart.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pathlib
import socket
import time

from pixelvae_tf.files import FileError

try:
    import fcntl
except ImportError:  # not a system with flock
    fcntl = None

NAME = ".lock"
_TAKEN = (errno.EWOULDBLOCK, errno.EACCES)


class Lock:
    """The lock of one folder.

    Args:
        folder: an existing folder to lock.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.file = folder / NAME
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Acquires the lock and writes its holder to the file. Raises FileError if another process holds it."""
        while self._descriptor is None:
            descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                self._take(descriptor)
                # The previous holder may have removed the file after we opened it.
                if _same(descriptor, self.file):
                    self._descriptor, descriptor = descriptor, None
            finally:
                if descriptor is not None:
                    os.close(descriptor)
        holder = {"host": socket.gethostname(), "process": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, json.dumps(holder).encode())

    def _take(self, descriptor: int) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _TAKEN:
                raise FileError(
                    f"--workdir={self.folder}: another training is at work there{_told(descriptor)}; wait for its end "
                    "or choose another folder"
                ) from None

    def is_lost(self) -> bool:
        """Returns whether the folder was removed, renamed or replaced since the lock was taken."""
        return self._descriptor is not None and not _same(self._descriptor, self.file)

    def release(self) -> None:
        """Releases the lock and removes its file."""
        if self._descriptor is None:
            return
        if not self.is_lost():
            with contextlib.suppress(OSError):
                self.file.unlink()
        os.close(self._descriptor)
        self._descriptor = None


def _same(descriptor: int, file: pathlib.Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(file))
    except OSError:
        return False


def _told(descriptor: int) -> str:
    """Describes the holder of the lock for a message; empty if the holder has not written its name yet."""
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f" (process {holder['process']} on {holder['host']} since {holder['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
