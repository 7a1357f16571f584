"""Trained models inside the package, by name: NAME.weights.h5 holds the weights, NAME.json says how they were made.

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
# Names that models had before. They still load the same weights. `mnist` is also a dataset and a flag file.
FORMER_NAMES = {"mnist": "binarized_mnist_best"}


def names() -> list[str]:
    """The models there are, by their present names."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def accepted_names() -> list[str]:
    """The names that `load` and `--pretrained` take: present and former ones."""
    return sorted([*names(), *FORMER_NAMES])


class Pretrained:
    """A model of the package.

    Args:
        name: a present or a former name of the model.

    Attributes:
        name: the present name of the model.
        record_file: its configuration, how it was trained, what it scores, and the checksum of its weights.
        weights_file: its weights, float32, and the configuration of the model that they belong to.
    """

    def __init__(self, name: str):
        name = FORMER_NAMES.get(name, name)
        if name not in names():
            raise FileError(f"{name!r}: no pretrained model has this name; known: {', '.join(names())}")
        self.name = name
        self.record_file = FOLDER / f"{name}.json"
        self.weights_file = FOLDER / f"{name}.weights.h5"

    def record(self) -> dict[str, Any]:
        """The configuration, the summary of the run, its evaluations by split, the best validation, the checksum."""
        try:
            record = files.read_record(self.record_file, {"config": dict, "sha256": str, "best": dict})
        except FileError as error:
            raise FileError(f"{str(error).removesuffix('; restore it')}; install the package anew") from None
        best = record["best"]
        if type(best.get("step")) is not int or not {"weights", "nll_bound_nats"} <= set(best):
            raise FileError(f"{self.record_file}: damaged (its 'best' is not whole); install the package anew")
        return record

    def config(self) -> RunConfig:
        """The configuration of the run. Raises FileError for a damaged record."""
        try:
            return RunConfig.from_dict(self.record()["config"])
        except (ConfigError, KeyError, TypeError, AttributeError) as error:
            raise FileError(f"{self.record_file}: damaged ({error}); install the package again") from None

    def classes(self) -> Classes | None:
        """The classes of the model; None for one without."""
        record = self.record().get("classes")
        return None if record is None else Classes.of_record(record)

    def best_weights(self) -> tuple[pathlib.Path, dict[str, Any]]:
        """The weights file, checked, and the record of the step it comes from.

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
