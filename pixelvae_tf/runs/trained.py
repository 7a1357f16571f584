"""Loads trained models from a work directory, or from the package by name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pixelvae_tf.files import FileError
from pixelvae_tf.runs import pretrained
from pixelvae_tf.runs.pretrained import Pretrained
from pixelvae_tf.runs.workdir import Run

if TYPE_CHECKING:
    from pixelvae_tf.model.pixelvae import PixelVAE


def find(source: str | os.PathLike) -> Run | Pretrained:
    """Returns the run or the pretrained model that `source` names, without reading its files."""
    if isinstance(source, str) and source in pretrained.accepted_names():
        return Pretrained(source)
    if isinstance(source, str) and os.path.basename(source) == source and not os.path.exists(source):
        raise FileError(
            f"{source!r}: no pretrained model and no folder of a run; pretrained are {', '.join(pretrained.names())}"
        )
    return Run(source)


def find_trained(source: str | os.PathLike) -> Run | Pretrained:
    """Returns the same as `find`, after reading the configuration. `load_best` checks the weights later.

    Commands call it before TensorFlow starts. Raises FileError as `Run.config` and `Pretrained.config` do.
    """
    trained = find(source)
    trained.config()
    return trained


def class_names(trained: Run | Pretrained) -> tuple[str, ...]:
    """Returns the names of a model's classes, in the order of their labels; empty for a model without classes.

    Raises:
        FileError: as `Run.classes` and `Run.config` do.
    """
    classes = trained.classes()
    return classes.names if classes else tuple(map(str, range(trained.config().model.num_classes)))


def load_best(trained: Run | Pretrained) -> tuple[PixelVAE, dict]:
    """Loads a model with its best weights. Returns it, and their record with `step`, `weights` and `nll_bound_nats`.

    Raises:
        FileError: as `load` does.
    """
    from pixelvae_tf.model.pixelvae import PixelVAE

    weights, record = trained.best_weights()
    model = PixelVAE(trained.config().model)
    try:
        model.load_weights(weights)
    except (ValueError, KeyError, TypeError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise FileError(f"{weights}: does not fit the model of its configuration ({reason}); restore it") from None
    return model, record


def load(source: str | os.PathLike) -> PixelVAE:
    """Loads a trained model with its best weights, ready to use.

    Args:
        source: the name of a pretrained model, or the work directory of a run. The name of a model wins over a folder
            with the same name: write such a folder as "./digits" or a `pathlib.Path`.

    Raises:
        FileError: if there is no such model or run, it has no weights yet, or its files are damaged.
    """
    return load_best(find(source))[0]
