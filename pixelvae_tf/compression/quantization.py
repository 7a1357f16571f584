"""Converts probabilities to whole units, in the same way for an encoder and a decoder."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from pixelvae_tf.compression.ans import TOTAL, Stack
from pixelvae_tf.errors import UserError

# Latents are discretized to this many values, equally likely under their prior (Townsend et al. 2019, section 2.3).
BUCKETS = 1 << 16
# The number of scales around the mean of a normal distribution beyond which there is less than one unit.
_REACH = 8
_HALF_ROOT = math.sqrt(0.5)
_STANDARD = NormalDist()


def cumulative(probabilities: np.ndarray) -> np.ndarray:
    """Returns the intervals of an alphabet's symbols, each of at least one unit.

    Args:
        probabilities: (..., levels), not negative, with a sum of about one.

    Returns:
        (..., levels + 1) int64: symbol s has the interval from [s] to [s + 1]; the first value is 1 and the last
        TOTAL - 1.

    Raises:
        UserError: for probabilities that are not finite.
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
    """Returns where the buckets of a standard normal begin, and where the last one ends."""
    inner = [_STANDARD.inv_cdf(index / BUCKETS) for index in range(1, BUCKETS)]
    return [-math.inf, *inner, math.inf]


@functools.cache
def centers() -> np.ndarray:
    """Returns the value of each bucket of a standard normal, its median, (BUCKETS,) float32."""
    return np.array([_STANDARD.inv_cdf((index + 0.5) / BUCKETS) for index in range(BUCKETS)], "float32")


def _below(value: float) -> float:
    """Returns the standard normal distribution function, accurate far below zero."""
    return 0.5 * math.erfc(-value * _HALF_ROOT)


def check_gaussians(parameters: np.ndarray) -> None:
    """Raises UserError unless the means and scales, side by side on the last axis, are normal distributions."""
    if not (np.isfinite(parameters).all() and (np.split(parameters, 2, axis=-1)[1] > 0).all()):
        raise UserError("the model gives no distribution of latents for these images: its weights are not finite")


def _pop(stack: Stack, begin: Callable[[int], int], near: int) -> int:
    """Pops a whole number, where number n has the interval from begin(n) to begin(n + 1). Searches from `near`."""
    unit = stack.next_unit()
    while unit < (left := begin(near)):
        near -= 1
    while unit >= (right := begin(near + 1)):
        near, left = near + 1, right
    stack.pop(left, right)
    return near


def _bucket(bucket: int, mean: float, scale: float) -> int:
    """Returns where the interval of a bucket begins under a normal distribution."""
    return int(TOTAL * _below((_edges()[bucket] - mean) / scale))


def pop_bucket(stack: Stack, mean: float, scale: float) -> int:
    """Pops a bucket of the standard normal with its probability under another normal distribution.

    Args:
        stack: the stack to pop from.
        mean, scale: parameters of that distribution, in units of the standard normal.
    """
    value = mean + scale * _STANDARD.inv_cdf((stack.next_unit() + 0.5) / TOTAL)
    near = min(int(BUCKETS * _below(value)), BUCKETS - 1)
    return _pop(stack, lambda bucket: _bucket(bucket, mean, scale), near)


def push_bucket(stack: Stack, bucket: int, mean: float, scale: float) -> None:
    """Undoes `pop_bucket`."""
    stack.push(_bucket(bucket, mean, scale), _bucket(bucket + 1, mean, scale))


def _cell(cell: int, mean: float, scale: float, reach: float) -> int:
    """Returns where the interval of a whole number begins under a normal distribution; see `pop_cell`."""
    if not reach:
        return int(TOTAL * _below((cell - 0.5 - mean) / scale))
    first = round(mean - _REACH * reach)
    count = round(2 * _REACH * reach)
    inside = min(max(cell - first, 0), count)
    if inside in (0, count):
        return TOTAL if inside else 0
    return int((TOTAL - count) * _below((cell - 0.5 - mean) / scale)) + inside


def pop_cell(stack: Stack, mean: float, scale: float, reach: float = 0.0) -> int:
    """Pops a whole number with its probability under a rounded normal distribution.

    Args:
        stack: the stack to pop from.
        mean, scale: parameters of that distribution.
        reach: gives an interval to all numbers within 8 times this distance of the mean, and to no others. By default,
            numbers with at least one unit have an interval.
    """
    near = round(mean + scale * _STANDARD.inv_cdf((stack.next_unit() + 0.5) / TOTAL))
    return _pop(stack, lambda cell: _cell(cell, mean, scale, reach), near)


def push_cell(stack: Stack, cell: int, mean: float, scale: float, reach: float = 0.0) -> None:
    """Undoes `pop_cell`, or pushes a number that is within the reach."""
    stack.push(_cell(cell, mean, scale, reach), _cell(cell + 1, mean, scale, reach))


def push_standard(stack: Stack, cell: int, cells: int) -> None:
    """Pushes any whole number of 32 bits under a normal distribution with mean 0 and a scale of `cells`."""
    if abs(cell) < _REACH * cells:
        stack.push(*(_standard(end, cells) for end in (cell, cell + 1)))
        return
    # The last unit marks a number that is stored literally.
    stack.push_uniform(np.array([cell & 0xFFFF, cell >> 16 & 0xFFFF]), 1 << 16)
    stack.push(TOTAL - 1, TOTAL)


def pop_standard(stack: Stack, cells: int) -> int:
    """Undoes `push_standard`."""
    if stack.next_unit() < TOTAL - 1:
        near = round(cells * _STANDARD.inv_cdf((stack.next_unit() + 0.5) / TOTAL))
        return _pop(stack, lambda cell: _standard(cell, cells), near)
    stack.pop(TOTAL - 1, TOTAL)
    low, high = stack.pop_uniform(2, 1 << 16).tolist()
    return (high << 16 | low) - (high >> 15 << 32)


def _standard(cell: int, cells: int) -> int:
    """Returns where the interval of a number begins. Every number within 8 scales has one, below the last unit."""
    first, count = 1 - _REACH * cells, 2 * _REACH * cells - 1
    inside = min(max(cell - first, 0), count)
    if inside in (0, count):
        return TOTAL - 1 if inside else 0
    return int((TOTAL - 1 - count) * _below((cell - 0.5) / cells)) + inside
