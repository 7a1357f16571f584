"""Weights files without the optimizer's state. Each also holds the configuration of its model."""

from __future__ import annotations

import json
import math
import pathlib

import numpy as np

from pixelvae_tf.config import ModelConfig
from pixelvae_tf.files import FileError

_CONFIGURATION = "model_configuration"
# HDF5 takes about a kilobyte for a variable and the groups around it.
_BYTES_A_VARIABLE = 4096
_BYTES_A_FILE = 16384


def largest_size(model) -> int:
    """Returns a number of bytes that no weights file of a model exceeds, with its optimizer."""
    optimizer = getattr(model, "optimizer", None)
    saved = [*model.variables, *(optimizer.variables if optimizer else ())]
    values = sum(math.prod(variable.shape) * np.dtype(variable.dtype).itemsize for variable in saved)
    return values + _BYTES_A_VARIABLE * len(saved) + _BYTES_A_FILE


def extract(source: pathlib.Path, target: pathlib.Path, config: ModelConfig) -> None:
    """Copies the weights of a `.weights.h5` file without the state of the optimizer.

    Args:
        source: a file from `save_weights`, which may contain an optimizer.
        target: the file to write, for `load_weights` and `configuration`.
        config: the configuration of the model.
    """
    import h5py

    with h5py.File(source, "r") as old, h5py.File(target, "w") as new:
        for name in old:
            if name != "optimizer":
                old.copy(name, new)
        new.attrs[_CONFIGURATION] = json.dumps(config.to_dict())


def name_model(path: pathlib.Path, config: ModelConfig) -> None:
    """Adds the configuration of the model to a `.weights.h5` file."""
    import h5py

    with h5py.File(path, "r+") as file:
        file.attrs[_CONFIGURATION] = json.dumps(config.to_dict())


def configuration(path: pathlib.Path) -> ModelConfig | None:
    """Returns the configuration in a weights file, or None for an older file without one.

    Raises:
        FileError: for a damaged file, or a configuration that this version does not know.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            described = file.attrs.get(_CONFIGURATION)
        return None if described is None else ModelConfig.from_dict(json.loads(described))
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise FileError(f"{path}: the model of these weights cannot be told ({error}); restore the file") from None
