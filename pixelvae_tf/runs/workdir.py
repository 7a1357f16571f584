"""The work directory of a run: its configuration, its best weights and its records.

config.json         everything needed to rebuild the model and repeat the run
checkpoints/        the state of training, to continue from
best/               weights of the lowest validation bound, and best.json that describes them
history.jsonl       every validation, a line each
train/ validation/  TensorBoard events
summary.json        the finished run
eval_<split>.json   what `evaluate` found
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import tempfile
import time
from typing import TYPE_CHECKING

from pixelvae_tf import files
from pixelvae_tf.config import ConfigError, RunConfig
from pixelvae_tf.files import FileError

if TYPE_CHECKING:
    from pixelvae_tf.model.pixelvae import PixelVAE

# How long shared storage may take to show one machine what another has written.
_SHARED_STORAGE_SECONDS = 10.0


class Run:
    """A work directory and the names in it."""

    def __init__(self, workdir: str | os.PathLike):
        if not str(workdir):
            raise FileError("--workdir is empty: name the folder of the run")
        self.workdir = pathlib.Path(workdir)
        self.config_file = self.workdir / "config.json"
        self.checkpoints = self.workdir / "checkpoints"
        self.best_folder = self.workdir / "best"
        self.best_file = self.best_folder / "best.json"
        self.history_file = self.workdir / "history.jsonl"
        self.summary_file = self.workdir / "summary.json"
        self._config: RunConfig | None = None

    def claim(self, config: RunConfig) -> None:
        """Makes this the work directory of `config`: records it, or checks that it continues what is there.

        Raises:
            FileError: if the folder cannot be written, holds something else, or another configuration.
        """
        if self.workdir.exists() and not self.workdir.is_dir():
            raise FileError(f"--workdir={self.workdir}: is a file; name a folder")
        try:
            self.workdir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"--workdir={self.workdir}: cannot be created ({error.strerror})") from None
        if not os.access(self.workdir, os.W_OK):
            raise FileError(f"--workdir={self.workdir}: may not be written; choose another folder")
        if self.config_file.exists():
            difference = self._read_config().difference(config)
            if difference:
                raise FileError(
                    f"--workdir={self.workdir}: holds a run of another configuration: {difference}; "
                    "choose another folder or the old value"
                )
        elif any(self.workdir.iterdir()):
            raise FileError(f"--workdir={self.workdir}: is not empty and holds no run; choose another folder")
        files.write_json(self.config_file, config.to_dict())
        self._config = config

    def join(self, config: RunConfig) -> None:
        """Checks that the chief has begun the same run here, as another worker of it sees the folder.

        Raises:
            FileError: if the chief's configuration is not there, or is not this worker's.
        """
        deadline = time.monotonic() + _SHARED_STORAGE_SECONDS
        while (problem := self._unlike_chief(config)) and time.monotonic() < deadline:
            time.sleep(0.1)
        if problem:
            raise FileError(problem)

    def _unlike_chief(self, config: RunConfig) -> str | None:
        """What tells this worker's run from the chief's; where the data lies may differ."""
        if not self.config_file.exists():
            return (
                f"--workdir={self.workdir}: this worker does not see the run that the chief has begun there; "
                "choose a folder on storage that all workers share"
            )
        chiefs = self._read_config().to_dict()
        for part, values in config.to_dict().items():
            for name, value in values.items():
                own_choice = name == "data_dir" or (name, value) == ("mixed_precision", "auto")
                if value != chiefs[part][name] and not own_choice:
                    return (
                        f"{name} is {value!r} on this worker and {chiefs[part][name]!r} on the chief; start all "
                        "workers with the same flags"
                    )
        return None

    @contextlib.contextmanager
    def checkpoint_folder(self, is_chief: bool):
        """The folder that this worker saves to: `checkpoints` for the chief, a passing one for the others.

        TensorFlow may need all workers to save, since a variable can be a sum over workers; one of them is kept.
        """
        if is_chief:
            yield self.checkpoints
        else:
            with tempfile.TemporaryDirectory(prefix="pixelvae_tf-") as folder:
                yield pathlib.Path(folder)

    def config(self) -> RunConfig:
        """The configuration on record, read once. Raises FileError where there is none, or a damaged one."""
        if self._config is None:
            self._config = self._read_config()
        return self._config

    def _read_config(self) -> RunConfig:
        if not self.workdir.is_dir():
            raise FileError(f"--workdir={self.workdir}: no such folder; train first")
        if not self.config_file.exists():
            raise FileError(f"--workdir={self.workdir}: holds no run (no config.json); train first")
        try:
            return RunConfig.from_dict(files.read_json(self.config_file))
        except (ConfigError, TypeError, AttributeError) as error:
            raise FileError(f"{self.config_file}: {error}") from None

    def best(self) -> dict | None:
        """The record of the best weights, or None before the first validation."""
        return files.read_json(self.best_file) if self.best_file.exists() else None

    def save_best(self, model: PixelVAE, record: dict) -> None:
        """Keeps the model's present weights as the best ones; what was best stays until they are written whole."""
        self.best_folder.mkdir(exist_ok=True)
        weights = self.best_folder / f"step-{record['step']:08d}.weights.h5"
        with files.replacing(weights) as temporary:
            model.save_weights(temporary)
        files.write_json(self.best_file, {**record, "file": weights.name, "sha256": files.sha256(weights)})
        for other in self.best_folder.glob("*.weights.h5"):
            if other != weights:
                other.unlink()

    def best_weights(self) -> tuple[pathlib.Path, dict]:
        """The file of the best weights, checked, and their record.

        Raises:
            FileError: without a run, without weights, or for a damaged weights file.
        """
        config, record = self.config(), self.best()
        if record is None:
            raise FileError(
                f"--workdir={self.workdir}: has no weights yet; continue training until its first validation, "
                f"step {config.training.validation_every}"
            )
        weights = self.best_folder / record["file"]
        if not weights.exists() or files.sha256(weights) != record["sha256"]:
            raise FileError(f"{weights}: missing or damaged; continue training to write it anew")
        return weights, record

    def add_history(self, entry: dict) -> None:
        """Appends a validation to the history, in place of what an interrupted run had at and after its step."""
        kept = [old for old in self.history() if old["step"] < entry["step"]]
        with files.replacing(self.history_file) as temporary:
            temporary.write_text("".join(json.dumps(item) + "\n" for item in [*kept, entry]))

    def history(self) -> list[dict]:
        """All validations so far, by step."""
        if not self.history_file.exists():
            return []
        return [json.loads(line) for line in self.history_file.read_text().splitlines()]

    def keep_evaluation(self, split: str, record: dict) -> None:
        """Writes what was found on a split, in place of an earlier evaluation."""
        files.write_json(self.workdir / f"eval_{split}.json", record)

    def record(self) -> dict:
        """All that the run recorded, in one value: configuration, summary, evaluations by split, history.

        Where the data lies is left out, since it says nothing elsewhere.

        Raises:
            FileError: without a finished run.
        """
        config = self.config().portable().to_dict()
        if not self.summary_file.exists():
            raise FileError(f"--workdir={self.workdir}: the run is not finished (no summary.json); continue training")
        evaluations = {path.stem[len("eval_") :]: files.read_json(path) for path in self.workdir.glob("eval_*.json")}
        return {
            "config": config,
            "summary": files.read_json(self.summary_file),
            "evaluations": evaluations,
            "history": self.history(),
        }
