"""Exports a model from Python, such as one that `fit` trained. The command `pixelvae_tf.export` writes the same."""

from __future__ import annotations

import json
import os

from pixelvae_tf.errors import UserError
from pixelvae_tf.model import serving
from pixelvae_tf.model.pixelvae import PixelVAE
from pixelvae_tf.runs.environment import environment


def export_model(
    model: PixelVAE,
    folder: str | os.PathLike,
    *,
    record: dict | None = None,
    keras_file: bool = False,
    xla: bool = True,
) -> dict:
    """Writes a model as a SavedModel, which TensorFlow runs without this package. Writes it completely or not at all.

    The endpoints return the same as the model's methods at the time of the call, with the same weights. To export the
    averaged weights (`ema_decay`), call it inside `with model.evaluation_weights():`.

    Args:
        model: the model to export.
        folder: the folder to write: a new or empty one, or an earlier export, which it replaces.
        record: JSON values that say where the model comes from, for `export.json`.
        keras_file: also write `model.keras`, for `keras.saving.load_model` with this package.
        xla: compile the sampling loops and the gates with XLA. False is for servers without XLA.

    Returns:
        The content of `export.json`: the record, the configuration of the model, and the endpoints.

    Raises:
        UserError: if the model is not a `PixelVAE`, the record is not JSON, or the folder cannot be written or holds
            something other than an export.
    """
    if not isinstance(model, PixelVAE):
        raise UserError(f"model of type {type(model).__name__}: give a pixelvae_tf.PixelVAE")
    try:
        json.dumps(record or {})
    except (TypeError, ValueError) as error:
        raise UserError(f"record: give JSON values ({error})") from None
    output = serving.check_output(os.fspath(folder), "folder")
    optimizer = getattr(model, "optimizer", None)
    made = {
        "training_steps": 0 if optimizer is None else int(optimizer.iterations.numpy()),
        "weights": "averaged" if model.average is not None and model.average.in_place else "raw",
        "precision": model.dtype_policy.name,
        **environment(),
    }
    return serving.export(model, output, {**(record or {}), **made}, keras_file=keras_file, xla=xla)
