"""The records of an LMDB database, read in a process of its own.

LMDB trusts its file: on a damaged page it ends its process by a signal, without a word. Here that process is one that
only reads, and what became of it is told.
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
    """Stands at the end of the records of a damaged database.

    Attributes:
        reason: what the reading ended with.
    """

    reason: str


def records(path: pathlib.Path) -> Iterator[tuple[str, bytes] | Damage]:
    """Keys and values in the order of their keys; at the first that cannot be read, a `Damage` and no more.

    Args:
        path: of the database: its folder, or its file.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(path, sender), daemon=True)
    process.start()
    sender.close()
    try:
        while (batch := _received(receiver, process)) is not None:
            yield from batch
    finally:
        receiver.close()
        process.kill()
        process.join()


def _received(receiver, process) -> list[tuple[str, bytes] | Damage] | None:
    """What the process sends next, or None after its last; a Damage where it has died."""
    try:
        return receiver.recv()
    except (EOFError, OSError):
        process.join()
        code = process.exitcode
        died = f"by {signal.Signals(-code).name}" if code and code < 0 else f"with exit code {code}"
        return [Damage(f"the process that read it ended {died}")] if code else None


def _send(path: pathlib.Path, sender: multiprocessing.connection.Connection) -> None:
    """In the process that reads: sends lists of records, then None."""
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
