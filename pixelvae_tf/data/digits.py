"""scikit-learn's handwritten digits: 1,797 scans of 8x8 with 17 grey levels, inside the package, no download."""

from __future__ import annotations

import functools

import numpy as np

from pixelvae_tf.config import DataConfig
from pixelvae_tf.data.schema import DatasetInfo

_SIZES = {"train": 1297, "validation": 200, "test": 300}
_SPLIT_SEED = 1797


def describe(config: DataConfig) -> DatasetInfo:
    """The facts of the dataset."""
    return DatasetInfo("digits", (8, 8, 1), 17, dict(_SIZES))


@functools.cache
def load(config: DataConfig, split: str) -> np.ndarray:
    """The images of a split, (examples, 8, 8, 1) uint8; a fixed permutation makes the three splits."""
    from sklearn.datasets import load_digits

    images = load_digits().images.astype("uint8")[..., None]
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(images))
    ends = np.cumsum(list(_SIZES.values()))
    parts = dict(zip(_SIZES, np.split(order, ends[:-1]), strict=True))
    return images[parts[split]]
