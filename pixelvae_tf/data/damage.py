"""Turns read errors, which TensorFlow raises in the middle of training, into one line that names the file."""

from __future__ import annotations

import contextlib
import pathlib
import re
from collections.abc import Iterator

from pixelvae_tf.config import DataConfig
from pixelvae_tf.data import prepared
from pixelvae_tf.data.schema import DataError

# TensorFlow reports an exception of Python code in a pipeline by its name and text, in the message of its own error.
_FROM_PYTHON = re.compile(r"\bDataError: (.+)")


@contextlib.contextmanager
def reading(config: DataConfig) -> Iterator[None]:
    """Turns errors from reading the dataset inside the block into DataError; lets all others pass."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        explained = explain_read_error(config, error)
        if explained is None:
            raise
        raise explained from None


def explain_read_error(config: DataConfig, error: Exception) -> DataError | None:
    """Finds the file that made an iteration over batches fail. For this it reads a prepared dataset again.

    Args:
        config: the dataset that was read.
        error: what TensorFlow raised.

    Returns:
        An error that names the file in one line, or None if the data is not to blame.
    """
    import tensorflow as tf

    reported = _FROM_PYTHON.search(str(error))
    if reported:
        return DataError(reported[1])
    # Of all failed preconditions, only this message about the count means a file that was cut between records.
    too_few = isinstance(error, tf.errors.FailedPreconditionError) and "expected to contain" in str(error)
    of_files = isinstance(error, (tf.errors.DataLossError, tf.errors.NotFoundError, tf.errors.PermissionDeniedError))
    if config.dataset not in prepared.NAMES or not (too_few or of_files):
        return None
    return _first_damaged(config)


def _first_damaged(config: DataConfig) -> DataError | None:
    found = prepared.find(config)
    for shards in found.shards.values():
        for path, length in shards:
            reason = damage_of(path, length)
            if reason:
                return DataError(f"{path}: this file of the dataset is {reason}; restore it or prepare it again")
    return None


def damage_of(path: pathlib.Path, length: int) -> str | None:
    """Reads a whole shard and its checksums. Returns what is wrong, or None if it holds `length` intact images."""
    import tensorflow as tf

    if not path.is_file():
        return "missing"
    try:
        count = int(tf.data.TFRecordDataset(str(path)).reduce(tf.constant(0, tf.int64), lambda n, _: n + 1))
    except tf.errors.OpError as error:
        return f"damaged ({error.message.split(' [Op:')[0].strip()[:100]})"
    return None if count == length else f"cut short ({count} of {length} images)"
