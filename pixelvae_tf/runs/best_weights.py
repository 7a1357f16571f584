"""The best weights of a run: a weights file, and best.json, which describes it and holds its checksum."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

from pixelvae_tf import files
from pixelvae_tf.config import RunConfig
from pixelvae_tf.files import FileError
from pixelvae_tf.runs import weight_files

if TYPE_CHECKING:
    from pixelvae_tf.model.pixelvae import PixelVAE

_FIELDS = {"step": int, "nll_bound_nats": float, "weights": str, "file": str, "sha256": str}


class OtherModelError(FileError):
    """The best weights belong to another model than the one that config.json describes."""


class BestWeights:
    """The folder of the best weights.

    Args:
        workdir: the work directory of the run.

    Attributes:
        folder: holds the weights file and its record.
        file: the record.
    """

    def __init__(self, workdir: pathlib.Path):
        self.workdir = workdir
        self.folder = workdir / "best"
        self.file = self.folder / "best.json"

    def record(self) -> dict | None:
        """Reads the record, or returns None before the first validation. Raises FileError for a damaged record."""
        if not self.file.exists():
            return None
        record = files.read_record(self.file, _FIELDS)
        if pathlib.PurePath(record["file"]).name != record["file"]:
            raise FileError(f"{self.file}: damaged (its 'file' lies elsewhere); restore it")
        return record

    def save(self, model: PixelVAE, record: dict) -> None:
        """Saves the model's weights with their record. The previous best weights stay until these are complete."""
        with files.writing(self.folder):
            self.folder.mkdir(exist_ok=True)
        weights = self.folder / f"step-{record['step']:08d}.weights.h5"
        with files.replacing(weights) as temporary:
            files.reserve(temporary, weight_files.largest_size(model))
            model.save_weights(temporary)
            weight_files.name_model(temporary, model.config)
        files.write_json(self.file, {**record, "file": weights.name, "sha256": files.sha256(weights)})
        self._remove_other_weights(weights)

    def _remove_other_weights(self, kept: pathlib.Path) -> None:
        for other in self.folder.glob("*.weights.h5"):
            if other != kept:
                other.unlink()

    def checked(self, config: RunConfig) -> tuple[pathlib.Path, dict]:
        """Returns the weights file, verified, and its record.

        Args:
            config: the configuration of the run.

        Raises:
            FileError: if there are no weights yet, or the file or its record is damaged.
            OtherModelError: if the weights belong to another model than that of `config`.
        """
        record = self.record()
        if record is None:
            raise FileError(
                f"--workdir={self.workdir}: has no weights yet; continue training until its first validation, "
                f"step {config.training.validation_every}"
            )
        weights = self.folder / record["file"]
        if not weights.is_file() or files.sha256(weights) != record["sha256"]:
            raise FileError(f"{weights}: missing or damaged; continue training to write it anew")
        trained = weight_files.configuration(weights)
        if trained and (difference := RunConfig(trained).difference(RunConfig(config.model))):
            raise OtherModelError(
                f"{self.workdir / 'config.json'}: is not the configuration of the weights {weights}: {difference}; "
                "restore it"
            )
        return weights, record

    def discard_damaged(self, config: RunConfig, *, will_validate: bool) -> str | None:
        """Checks the best weights before training continues. Discards damaged ones if a validation will replace them.

        Args:
            config: the configuration of the run.
            will_validate: whether training takes another step and so validates again.

        Returns:
            What was wrong with the weights, or None.

        Raises:
            FileError: for damaged weights that no validation will replace, or weights of another model.
        """
        if not self.file.exists():
            return None
        try:
            weights, _ = self.checked(config)
        except OtherModelError:
            raise
        except FileError as error:
            if not will_validate:
                raise
            self.file.unlink()
            return str(error).split(";")[0]
        self._remove_other_weights(weights)
        return None
