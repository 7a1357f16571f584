"""Which numbers are seeds: one rule for the methods of a model, `compile`, and the flags."""

from __future__ import annotations

import operator
from typing import Any

from pixelvae_tf.errors import UserError

# TensorFlow's seeds are 32-bit numbers, and it would take a greater one for another, or for a negative one.
LARGEST_SEED = 2**31 - 1


def checked_seed(seed: Any, name: str = "seed") -> int:
    """The seed as a whole number, from a Python, NumPy or TensorFlow one.

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
