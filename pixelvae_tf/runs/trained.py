"""Trained models: of a work directory, or of the package by name."""

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
    """The run or the pretrained model that `load` is asked for, without a look at its files."""
    if isinstance(source, str) and source in pretrained.accepted_names():
        return Pretrained(source)
    if isinstance(source, str) and os.path.basename(source) == source and not os.path.exists(source):
        raise FileError(
            f"{source!r}: no pretrained model and no folder of a run; pretrained are {', '.join(pretrained.names())}"
        )
    return Run(source)


def find_trained(source: str | os.PathLike) -> Run | Pretrained:
    """As `find`, of a run or a model that is there with its configuration; its weights are checked as they are loaded.

    For commands, before TensorFlow starts. Raises FileError as `Run.config` and `Pretrained.config`.
    """
    trained = find(source)
    trained.config()
    return trained


def class_names(trained: Run | Pretrained) -> tuple[str, ...]:
    """What the classes of a model are called, in the order of their labels; empty for a model without classes.

    Raises:
        FileError: as `Run.classes` and `Run.config`.
    """
    classes = trained.classes()
    return classes.names if classes else tuple(map(str, range(trained.config().model.num_classes)))


def load_best(trained: Run | Pretrained) -> tuple[PixelVAE, dict]:
    """The model with its best weights, and their record: `step`, `weights` (raw or averaged), `nll_bound_nats`.

    Raises:
        FileError: as `load`.
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
    """A trained model with its best weights, ready to use.

    Args:
        source: the name of a pretrained model, which it is wherever this runs, or the work directory of a run. A
            folder that has the name of a pretrained model is "./digits" or a `pathlib.Path`.

    Raises:
        FileError: for a name that is neither; without a run, without weights, or for a damaged weights file.
    """
    return load_best(find(source))[0]
