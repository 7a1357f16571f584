"""Datasets by name."""

from __future__ import annotations

import difflib
import types

import numpy as np

from pixelvae_tf.config import DataConfig
from pixelvae_tf.data import digits, mnist
from pixelvae_tf.data.schema import SPLITS, DataError, DatasetInfo

_SOURCES: dict[str, types.ModuleType] = {"digits": digits, "binarized_mnist": mnist, "mnist": mnist}


def names() -> list[str]:
    """The names that `--dataset` takes."""
    return sorted(_SOURCES)


def describe(config: DataConfig) -> DatasetInfo:
    """The facts of a dataset, without reading it. Raises DataError for an unknown name."""
    return _source(config).describe(config)


def load(config: DataConfig, split: str) -> np.ndarray:
    """All images of a split, (examples, height, width, colors) uint8.

    Raises:
        DataError: for an unknown dataset or split, or data that is missing or damaged.
    """
    if split not in SPLITS:
        raise DataError(f"split={split!r}: choose one of {', '.join(SPLITS)}")
    return _source(config).load(config, split)


def _source(config: DataConfig) -> types.ModuleType:
    if config.dataset not in _SOURCES:
        close = difflib.get_close_matches(config.dataset, _SOURCES, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise DataError(f"--dataset={config.dataset}: unknown; {hint}known: {', '.join(names())}")
    return _SOURCES[config.dataset]
