"""Weights in a file by themselves, which names the model that they belong to."""

from __future__ import annotations

import json
import pathlib

from pixelvae_tf.config import ModelConfig
from pixelvae_tf.files import FileError

_CONFIGURATION = "model_configuration"


def extract(source: pathlib.Path, target: pathlib.Path, config: ModelConfig) -> None:
    """Copies the weights of a `.weights.h5` file, without the state of the optimizer that may lie beside them.

    Args:
        source: what `save_weights` wrote, of a model that may have been in training.
        target: to write; `load_weights` reads it, and `configuration` what it is of.
        config: of the model.
    """
    import h5py

    with h5py.File(source, "r") as old, h5py.File(target, "w") as new:
        for name in old:
            if name != "optimizer":
                old.copy(name, new)
        new.attrs[_CONFIGURATION] = json.dumps(config.to_dict())


def name_model(path: pathlib.Path, config: ModelConfig) -> None:
    """Writes into a `.weights.h5` file which model its weights are of."""
    import h5py

    with h5py.File(path, "r+") as file:
        file.attrs[_CONFIGURATION] = json.dumps(config.to_dict())


def configuration(path: pathlib.Path) -> ModelConfig | None:
    """The model whose weights a file holds, or None where it does not say, as older ones do not.

    Raises:
        FileError: for a file that is damaged, or names a model that this package does not know.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            described = file.attrs.get(_CONFIGURATION)
        return None if described is None else ModelConfig.from_dict(json.loads(described))
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise FileError(f"{path}: the model of these weights cannot be told ({error}); restore the file") from None
