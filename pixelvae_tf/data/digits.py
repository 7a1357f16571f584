"""scikit-learn's handwritten digits: 1,797 scans of 8x8 with 17 grey levels. No download: scikit-learn brings them."""

from __future__ import annotations

import functools

import numpy as np

from pixelvae_tf.config import DataConfig
from pixelvae_tf.data.schema import Classes, DatasetInfo

_SIZES = {"train": 1297, "validation": 200, "test": 300}
_SPLIT_SEED = 1797


def describe(config: DataConfig) -> DatasetInfo:
    """Returns the facts of the dataset."""
    return DatasetInfo("digits", (8, 8, 1), 17, dict(_SIZES))


def classes(config: DataConfig) -> Classes:
    """Returns the digits."""
    counts = np.bincount(load_labelled(config, "train")[1], minlength=10)
    return Classes(tuple(map(str, range(10))), tuple(counts.tolist()))


def load(config: DataConfig, split: str) -> np.ndarray:
    """Returns the images of a split, (examples, 8, 8, 1) uint8. A fixed permutation makes the three splits."""
    return load_labelled(config, split)[0]


@functools.cache
def load_labelled(config: DataConfig, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images as `load` does, and their classes 0..9, (examples,) uint8."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(digits.images))
    ends = np.cumsum(list(_SIZES.values()))
    chosen = dict(zip(_SIZES, np.split(order, ends[:-1]), strict=True))[split]
    return digits.images[chosen].astype("uint8")[..., None], digits.target[chosen].astype("uint8")
