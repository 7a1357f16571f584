"""Probabilities in whole units, made the same way by an encoder and a decoder."""

from __future__ import annotations

import functools
import math
from statistics import NormalDist

import numpy as np

from pixelvae_tf.compression.ans import TOTAL, Stack
from pixelvae_tf.errors import UserError

# Latents are discretized to as many values as are equally likely under their prior (Townsend et al. 2019, section 2.3).
BUCKETS = 1 << 16
_HALF_ROOT = math.sqrt(0.5)
_STANDARD = NormalDist()


def cumulative(probabilities: np.ndarray) -> np.ndarray:
    """The intervals of the symbols of an alphabet, each of at least one unit.

    Args:
        probabilities: (..., levels), not negative; they sum to about one.

    Returns:
        (..., levels + 1) int64: symbol s has from [s] to [s + 1]; the first is 1 and the last TOTAL - 1.

    Raises:
        UserError: for probabilities that are no numbers.
    """
    sums = np.cumsum(probabilities, axis=-1, dtype="float64")
    levels, total = sums.shape[-1], sums[..., -1:]
    if not (np.isfinite(total).all() and (total > 0).all()):
        raise UserError("the model gives no probabilities for these images: its weights are damaged, or not finite")
    shared = np.floor(sums[..., :-1] / total * (TOTAL - 2 - levels))
    result = np.empty((*sums.shape[:-1], levels + 1), "int64")
    result[..., 0], result[..., -1] = 0, TOTAL - 2 - levels
    result[..., 1:-1] = shared
    return result + np.arange(1, levels + 2)


@functools.cache
def _edges() -> list[float]:
    """Where the buckets of a standard normal begin, and where the last one ends."""
    inner = [_STANDARD.inv_cdf(index / BUCKETS) for index in range(1, BUCKETS)]
    return [-math.inf, *inner, math.inf]


@functools.cache
def centers() -> np.ndarray:
    """The value that stands for each bucket of a standard normal, (BUCKETS,) float32: its median."""
    return np.array([_STANDARD.inv_cdf((index + 0.5) / BUCKETS) for index in range(BUCKETS)], "float32")


def _begin(bucket: int, mean: float, scale: float) -> int:
    """Where the interval of a bucket begins under a normal distribution."""
    return int(TOTAL * 0.5 * math.erfc((mean - _edges()[bucket]) / scale * _HALF_ROOT))


def pop_bucket(stack: Stack, mean: float, scale: float) -> int:
    """Pops a bucket of the standard normal's whose probability is that of another normal distribution.

    Args:
        stack: to pop from.
        mean, scale: of that distribution, in units of the standard normal.
    """
    unit = stack.next_unit()
    # Near where it should be; from there to where it is.
    value = mean + scale * _STANDARD.inv_cdf((unit + 0.5) / TOTAL)
    bucket = min(int(BUCKETS * 0.5 * math.erfc(-value * _HALF_ROOT)), BUCKETS - 1)
    while unit < (left := _begin(bucket, mean, scale)):
        bucket -= 1
    while unit >= (right := _begin(bucket + 1, mean, scale)):
        bucket, left = bucket + 1, right
    stack.pop(left, right)
    return bucket


def push_bucket(stack: Stack, bucket: int, mean: float, scale: float) -> None:
    """Undoes `pop_bucket`."""
    stack.push(_begin(bucket, mean, scale), _begin(bucket + 1, mean, scale))
