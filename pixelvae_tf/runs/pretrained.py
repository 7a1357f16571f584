"""Trained models inside the package: NAME.weights.h5 holds the weights, NAME.json says how they were trained.

This project trained all of them; `tools/publish.py` writes both files from a run.
"""

from __future__ import annotations

import pathlib
from typing import Any

from pixelvae_tf import files
from pixelvae_tf.config import ConfigError, RunConfig
from pixelvae_tf.data.schema import Classes
from pixelvae_tf.files import FileError
from pixelvae_tf.runs import weight_files

FOLDER = pathlib.Path(__file__).parent.parent / "pretrained"
# Former names of models, which still load the same weights. `mnist` is also a dataset and a flag file.
FORMER_NAMES = {"mnist": "binarized_mnist_best"}


def names() -> list[str]:
    """Returns the current names of the models."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def accepted_names() -> list[str]:
    """Returns the names that `load` and `--pretrained` accept: current and former ones."""
    return sorted([*names(), *FORMER_NAMES])


class Pretrained:
    """A model of the package.

    Args:
        name: a current or former name of the model.

    Attributes:
        name: the current name of the model.
        record_file: its configuration, training, scores, and the checksum of its weights.
        weights_file: its float32 weights, and the configuration of their model.
    """

    def __init__(self, name: str):
        name = FORMER_NAMES.get(name, name)
        if name not in names():
            raise FileError(f"{name!r}: no pretrained model has this name; known: {', '.join(names())}")
        self.name = name
        self.record_file = FOLDER / f"{name}.json"
        self.weights_file = FOLDER / f"{name}.weights.h5"

    def record(self) -> dict[str, Any]:
        """Reads the configuration, the summary of the run, its evaluations by split, its best validation, the checksum.

        Raises:
            FileError: for a damaged record.
        """
        try:
            record = files.read_record(self.record_file, {"config": dict, "sha256": str, "best": dict})
        except FileError as error:
            raise FileError(f"{str(error).removesuffix('; restore it')}; install the package anew") from None
        best = record["best"]
        if type(best.get("step")) is not int or not {"weights", "nll_bound_nats"} <= set(best):
            raise FileError(f"{self.record_file}: damaged (its 'best' is not whole); install the package anew")
        return record

    def config(self) -> RunConfig:
        """Returns the configuration of the run. Raises FileError for a damaged record."""
        try:
            return RunConfig.from_dict(self.record()["config"])
        except (ConfigError, KeyError, TypeError, AttributeError) as error:
            raise FileError(f"{self.record_file}: damaged ({error}); install the package again") from None

    def classes(self) -> Classes | None:
        """Returns the classes of the model; None for a model without classes."""
        record = self.record().get("classes")
        return None if record is None else Classes.of_record(record)

    def best_weights(self) -> tuple[pathlib.Path, dict[str, Any]]:
        """Returns the weights file, verified, and the record of its training step.

        Raises:
            FileError: if the weights file is missing or damaged, or if the record describes another model.
        """
        config, record = self.config(), self.record()
        if not self.weights_file.exists() or files.sha256(self.weights_file) != record["sha256"]:
            raise FileError(
                f"{self.weights_file}: missing or damaged (SHA-256 is not the one in {self.record_file.name}); "
                "install the package again"
            )
        trained = weight_files.configuration(self.weights_file)
        if trained and (difference := RunConfig(trained).difference(RunConfig(config.model))):
            raise FileError(
                f"{self.record_file}: does not describe these weights: {difference}; install the package again"
            )
        return self.weights_file, {**record["best"], "sha256": record["sha256"]}
