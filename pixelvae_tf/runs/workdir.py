"""The work directory of a run: its configuration, its best weights and its records.

config.json         everything needed to rebuild the model and repeat the run
data.json           which images: how many each split has, and a checksum of what tells them from others
classes.json        names of the classes in the order of their labels, and training images of each (models of classes)
checkpoints/        the state of training, to continue from
best/               weights of the lowest validation bound, and best.json that describes them
history.jsonl       every validation, a line each
train/ validation/  TensorBoard events
summary.json        the finished run
eval_<split>.json   what `evaluate` found
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import tempfile
import time
from typing import TYPE_CHECKING

from pixelvae_tf import files
from pixelvae_tf.config import ConfigError, RunConfig
from pixelvae_tf.data.schema import Classes
from pixelvae_tf.files import FileError
from pixelvae_tf.runs import checkpoints, history, lock, weight_files

if TYPE_CHECKING:
    from pixelvae_tf.model.pixelvae import PixelVAE

# How long shared storage may take to show one machine what another has written.
_SHARED_STORAGE_SECONDS = 10.0
# Values that a worker leaves open, and that the chief decides as it begins the run.
_LEFT_TO_THE_CHIEF = {("mixed_precision", "auto"), ("initialize_from_sha256", "")}
_BEST = {"step": int, "nll_bound_nats": float, "weights": str, "file": str, "sha256": str}


class Run:
    """A work directory and the names in it."""

    def __init__(self, workdir: str | os.PathLike):
        if not str(workdir):
            raise FileError("--workdir is empty: name the folder of the run")
        self.workdir = pathlib.Path(workdir)
        self.config_file = self.workdir / "config.json"
        self.data_file = self.workdir / "data.json"
        self.classes_file = self.workdir / "classes.json"
        self.checkpoints = self.workdir / "checkpoints"
        self.best_folder = self.workdir / "best"
        self.best_file = self.best_folder / "best.json"
        self.history_file = self.workdir / "history.jsonl"
        self.summary_file = self.workdir / "summary.json"
        self._config: RunConfig | None = None
        self._lock: lock.Lock | None = None

    @contextlib.contextmanager
    def in_training(self):
        """Keeps other trainings out of the folder, which it makes, and removes what killed ones left in it.

        Raises:
            FileError: if the folder cannot be written, another training is at work in it, or it was removed,
                renamed or replaced before the block ends.
        """
        self._make_folder()
        held = lock.Lock(self.workdir)
        with files.writing(held.file):
            held.acquire()
        self._lock = held
        try:
            for folder in (self.workdir, self.best_folder):
                files.remove_leftovers(folder)
            checkpoints.remove_leftovers(self.checkpoints)
            yield
            self.check_in_place()
        except Exception:
            # Whatever failed, failed of that.
            self.check_in_place()
            raise
        finally:
            self._lock = None
            held.release()

    def check_in_place(self) -> None:
        """Raises FileError where the folder was removed, renamed or replaced since its training began."""
        if self._lock is not None and self._lock.is_lost():
            raise FileError(
                f"--workdir={self.workdir}: was removed, renamed or replaced while the training ran, which ends here; "
                "put it back and continue, or train anew"
            )

    def _make_folder(self) -> None:
        if self.workdir.exists() and not self.workdir.is_dir():
            raise FileError(f"--workdir={self.workdir}: is a file; name a folder")
        try:
            self.workdir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"--workdir={self.workdir}: cannot be created ({error.strerror})") from None
        if reason := files.unwritable(self.workdir):
            raise FileError(f"--workdir={self.workdir}: may not be written ({reason}); choose another folder")

    def claim(self, config: RunConfig) -> None:
        """Makes this the work directory of `config`: records it, or checks that it continues what is there.

        Raises:
            FileError: if the folder cannot be written, holds something else, or another configuration.
        """
        self._make_folder()
        if self.config_file.exists():
            difference = self._read_config().difference(config)
            if difference:
                raise FileError(
                    f"--workdir={self.workdir}: holds a run of another configuration: {difference}; "
                    "choose another folder or the old value"
                )
        elif any(not files.is_temporary(path.name) and path.name != lock.NAME for path in self.workdir.iterdir()):
            raise FileError(f"--workdir={self.workdir}: is not empty and holds no run; choose another folder")
        files.write_json(self.config_file, config.to_dict())
        self._config = config

    def keep_fingerprint(self, found: dict[str, dict]) -> str | None:
        """Records which images the run uses from here on.

        Args:
            found: what `data.fingerprint` says of them.

        Returns:
            One line on what has changed since the run was last begun or continued, or None.
        """
        before = self.fingerprint()
        files.write_json(self.data_file, found)
        changed = [split for split in found if split in before and found[split] != before[split]]
        if not changed:
            return None
        counts = ", ".join(
            f"{split} {before[split]['images']:,} images then, {found[split]['images']:,} now" for split in changed
        )
        best = "; the best bound starts anew, since earlier ones are of other images" if "validation" in changed else ""
        return f"--workdir={self.workdir}: this run continues on other images than it began with ({counts}){best}"

    def fingerprint(self) -> dict[str, dict]:
        """Which images the run uses; empty where that is not on record."""
        return files.read_json(self.data_file) if self.data_file.exists() else {}

    def keep_classes(self, found: Classes | None) -> None:
        """Records the classes of the run, where it has any. Raises FileError where it began with others."""
        if found is None:
            return
        before = self.classes()
        if before is not None and before.names != found.names:
            raise FileError(
                f"--workdir={self.workdir}: this run began with the classes {', '.join(before.names)}, and now the "
                f"images have {', '.join(found.names)}; name the images that it began with, or train in another folder"
            )
        files.write_json(self.classes_file, dataclasses.asdict(found))

    def classes(self) -> Classes | None:
        """The classes of the run; None for a model without. Raises FileError for a damaged record."""
        if not self.classes_file.exists():
            return None
        return Classes.of_record(files.read_record(self.classes_file, {"names": list, "images": list}))

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
        for group, values in config.to_dict().items():
            for name, value in values.items():
                own_choice = name == "data_dir" or (name, value) in _LEFT_TO_THE_CHIEF
                if value != chiefs[group][name] and not own_choice:
                    return (
                        f"{name} is {value!r} on this worker and {chiefs[group][name]!r} on the chief; start all "
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
        """The record of the best weights, or None before the first validation. Raises FileError for a damaged one."""
        if not self.best_file.exists():
            return None
        record = files.read_record(self.best_file, _BEST)
        if pathlib.PurePath(record["file"]).name != record["file"]:
            raise FileError(f"{self.best_file}: damaged (its 'file' lies elsewhere); restore it")
        return record

    def save_best(self, model: PixelVAE, record: dict) -> None:
        """Keeps the model's present weights as the best ones; what was best stays until they are written whole."""
        self.check_in_place()
        with files.writing(self.best_folder):
            self.best_folder.mkdir(exist_ok=True)
        weights = self.best_folder / f"step-{record['step']:08d}.weights.h5"
        with files.replacing(weights) as temporary:
            model.save_weights(temporary)
            weight_files.name_model(temporary, model.config)
        files.write_json(self.best_file, {**record, "file": weights.name, "sha256": files.sha256(weights)})
        self._remove_other_weights(weights)

    def _remove_other_weights(self, kept: pathlib.Path) -> None:
        for other in self.best_folder.glob("*.weights.h5"):
            if other != kept:
                other.unlink()

    def best_weights(self) -> tuple[pathlib.Path, dict]:
        """The file of the best weights, checked, and their record.

        Raises:
            FileError: without a run, without weights, for a damaged weights file, or one of another model than
                config.json describes.
        """
        config, record = self.config(), self.best()
        if record is None:
            raise FileError(
                f"--workdir={self.workdir}: has no weights yet; continue training until its first validation, "
                f"step {config.training.validation_every}"
            )
        weights = self.best_folder / record["file"]
        if not weights.is_file() or files.sha256(weights) != record["sha256"]:
            raise FileError(f"{weights}: missing or damaged; continue training to write it anew")
        trained = weight_files.configuration(weights)
        if trained and (difference := RunConfig(trained).difference(RunConfig(config.model))):
            raise FileError(
                f"{self.config_file}: is not the configuration of the weights {weights}: {difference}; restore it"
            )
        return weights, record

    def check_best(self, *, goes_on: bool) -> str | None:
        """Looks at the best weights before a training continues, and forgets damaged ones: a validation writes anew.

        Args:
            goes_on: whether the training takes another step, and so validates once more.

        Returns:
            What was wrong with them, or None.

        Raises:
            FileError: for damaged weights of a run that takes no more steps, or weights of another model.
        """
        if not self.best_file.exists():
            return None
        try:
            weights, _ = self.best_weights()
        except FileError as error:
            if not goes_on or str(error).startswith(str(self.config_file)):
                raise
            self.best_file.unlink()
            return str(error).split(";")[0]
        self._remove_other_weights(weights)
        return None

    def add_history(self, entry: dict) -> None:
        """Appends a validation to the history, in place of what an interrupted run had at and after its step."""
        self.check_in_place()
        kept = [old for old in self.history() if old["step"] < entry["step"]]
        history.write(self.history_file, [*kept, entry])

    def history(self) -> list[dict]:
        """All validations so far, by step. Raises FileError for a damaged line."""
        return history.read(self.history_file)

    def keep_evaluation(self, split: str, record: dict) -> None:
        """Writes what was found on a split, in place of an earlier evaluation."""
        files.write_json(self._evaluation(split), record)

    def check_evaluation(self, split: str) -> None:
        """Raises FileError where `keep_evaluation` could not write."""
        if reason := files.unwritable(self.workdir):
            raise FileError(
                f"--workdir={self.workdir}: may not be written ({reason}), where eval_{split}.json belongs; let it be "
                "written or copy the run"
            )
        files.remove_leftovers(self.workdir, self._evaluation(split).name)

    def _evaluation(self, split: str) -> pathlib.Path:
        return self.workdir / f"eval_{split}.json"

    def record(self) -> dict:
        """All that the run recorded, in one value: configuration, summary, evaluations by split, history.

        Where the data lies is left out, since it says nothing elsewhere.

        Raises:
            FileError: without a finished run.
        """
        config = self.config().portable().to_dict()
        if not self.summary_file.exists():
            raise FileError(f"--workdir={self.workdir}: the run is not finished (no summary.json); continue training")
        evaluations = {
            path.stem[len("eval_") :]: files.read_record(path, {"checkpoint_step": int, "nll_bound_nats": float})
            for path in self.workdir.glob("eval_*.json")
        }
        classes = self.classes()
        return {
            "config": config,
            **({} if classes is None else {"classes": dataclasses.asdict(classes)}),
            "summary": files.read_record(self.summary_file, {"best_step": int}),
            "evaluations": evaluations,
            "history": self.history(),
        }
