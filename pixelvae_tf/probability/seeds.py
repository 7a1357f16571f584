"""Checks seeds: one rule for the methods of a model, `compile`, and the flags."""

from __future__ import annotations

import operator
from typing import Any

from pixelvae_tf.errors import UserError

# TensorFlow's seeds have 32 bits. A greater number would silently wrap around to another seed.
LARGEST_SEED = 2**31 - 1


def checked_seed(seed: Any, name: str = "seed") -> int:
    """Converts a seed to a whole number, from a Python, NumPy or TensorFlow integer.

    Raises:
        UserError: for anything but a whole number from 0 to LARGEST_SEED.
    """
    try:
        if isinstance(seed, bool):
            raise TypeError
        number = operator.index(seed)
    except TypeError:
        raise UserError(f"{name}={seed!r}: give a whole number, 0 to {LARGEST_SEED}") from None
    if not 0 <= number <= LARGEST_SEED:
        raise UserError(f"{name}={number}: use 0 to {LARGEST_SEED}")
    return number
