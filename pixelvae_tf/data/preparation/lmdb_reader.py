"""Reads the records of an LMDB database in a separate process.

LMDB trusts its file: a damaged page crashes the process without a message. A separate process only reads, and if it
crashes, its parent reports that.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import multiprocessing.connection
import pathlib
import signal
from collections.abc import Iterator

from pixelvae_tf.data.preparation import workers

_SENT_AT_ONCE = 1 << 20  # bytes
_LARGEST_VALUE = 256 << 20  # bytes; a damaged size may be any


@dataclasses.dataclass(frozen=True)
class Damage:
    """Comes last among the records of a damaged database.

    Attributes:
        reason: what ended the reading.
    """

    reason: str


def records(path: pathlib.Path) -> Iterator[tuple[str, bytes] | Damage]:
    """Yields keys and values in the order of their keys. Ends with a `Damage` at the first unreadable one.

    Args:
        path: the folder or the file of the database.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(path, sender), daemon=True)
    try:
        with workers.uninterrupted():
            process.start()
        sender.close()
        while (batch := _received(receiver, process)) is not None:
            yield from batch
    finally:
        receiver.close()
        if process.pid is not None:
            process.kill()
            process.join()


def _received(receiver, process) -> list[tuple[str, bytes] | Damage] | None:
    """Returns what the process sends next, None after its last records, or a Damage if it has died."""
    try:
        return receiver.recv()
    except (EOFError, OSError):
        process.join()
        code = process.exitcode
        died = f"by {signal.Signals(-code).name}" if code and code < 0 else f"with exit code {code}"
        return [Damage(f"the process that read it ended {died}")] if code else None


def _send(path: pathlib.Path, sender: multiprocessing.connection.Connection) -> None:
    """Reads in the child process; sends lists of records, then None."""
    import lmdb

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    workers.end_with_parent()
    batch, size, last = [], 0, None
    try:
        with (
            lmdb.open(str(path), readonly=True, lock=False, subdir=path.is_dir(), create=False) as environment,
            environment.begin(buffers=True) as transaction,
        ):
            for key, value in transaction.cursor():
                key = bytes(key)
                if len(value) > _LARGEST_VALUE or (last is not None and key <= last):
                    raise lmdb.CorruptedError("keys out of order, or a size that no image has")
                last = key
                batch.append((key.decode(errors="backslashreplace"), bytes(value)))
                size += len(value)
                if size > _SENT_AT_ONCE:
                    sender.send(batch)
                    batch, size = [], 0
    except lmdb.Error as error:
        batch.append(Damage(str(error)))
    sender.send(batch)
    sender.send(None)
