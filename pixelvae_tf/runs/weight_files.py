"""Weights in a file by themselves, which names the model that they belong to."""

from __future__ import annotations

import json
import pathlib

from pixelvae_tf.config import ModelConfig

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


def configuration(path: pathlib.Path) -> ModelConfig:
    """The model whose weights `extract` wrote."""
    import h5py

    with h5py.File(path, "r") as file:
        return ModelConfig.from_dict(json.loads(file.attrs[_CONFIGURATION]))
