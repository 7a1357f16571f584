"""The work directory of a run: its configuration, its best weights and its records.

config.json         everything needed to rebuild the model and repeat the run
data.json           the number of images in each split, and a checksum that identifies them
classes.json        for models of classes: their names in the order of the labels, and the training images of each
checkpoints/        the state of training, to continue from
best/               the weights with the lowest validation bound, and best.json, which describes them
history.jsonl       one line for each validation
train/ validation/  TensorBoard events
summary.json        the summary of the finished run
eval_<split>.json   the results of `evaluate`
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
from pixelvae_tf.runs import checkpoints, history, lock
from pixelvae_tf.runs.best_weights import BestWeights

if TYPE_CHECKING:
    from pixelvae_tf.model.pixelvae import PixelVAE

# The most seconds until a file on shared storage is visible to other machines.
_SHARED_STORAGE_SECONDS = 10.0
# Values that workers leave open until the chief, which starts the run, decides them.
_LEFT_TO_THE_CHIEF = {"mixed_precision": "auto", "initialize_from_sha256": ""}


class Run:
    """A work directory.

    Args:
        workdir: its path; it need not exist.
    """

    def __init__(self, workdir: str | os.PathLike):
        if not str(workdir):
            raise FileError("--workdir is empty: name the folder of the run")
        self.workdir = pathlib.Path(workdir)
        self.config_file = self.workdir / "config.json"
        self.data_file = self.workdir / "data.json"
        self.classes_file = self.workdir / "classes.json"
        self.checkpoints = self.workdir / "checkpoints"
        self._best = BestWeights(self.workdir)
        self.best_folder, self.best_file = self._best.folder, self._best.file
        self.history_file = self.workdir / "history.jsonl"
        self.summary_file = self.workdir / "summary.json"
        self._config: RunConfig | None = None
        self._lock: lock.Lock | None = None

    @contextlib.contextmanager
    def in_training(self):
        """Creates the folder, locks it against other trainings, and removes leftovers of killed ones.

        Raises:
            FileError: if the folder cannot be written, another training uses it, or it is removed, renamed or replaced
                before the block ends.
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
            # If the folder is gone, that caused the error: report it instead.
            self.check_in_place()
            raise
        finally:
            self._lock = None
            held.release()

    def check_in_place(self) -> None:
        """Raises FileError if the folder was removed, renamed or replaced since its training began."""
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
        """Writes `config` to a new work directory, or checks that it continues the run in an existing one.

        Raises:
            FileError: if the folder cannot be written, contains no run but other files, or a run with another
                configuration.
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
        """Records which images the run uses from now on.

        Args:
            found: the result of `data.fingerprint`.

        Returns:
            A line about what has changed since the run last started, or None.
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
        """Returns the record of the images that the run uses; empty if there is none."""
        return files.read_json(self.data_file) if self.data_file.exists() else {}

    def keep_classes(self, found: Classes | None) -> None:
        """Records the classes of the run, if it has any. Raises FileError if it began with others."""
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
        """Returns the classes of the run; None for a model without classes. Raises FileError for a damaged record."""
        if not self.classes_file.exists():
            return None
        return Classes.of_record(files.read_record(self.classes_file, {"names": list, "images": list}))

    def join(self, config: RunConfig) -> None:
        """Checks, on a worker other than the chief, that the chief has started the same run in this folder.

        Raises:
            FileError: if the chief's configuration is missing, or differs from this worker's.
        """
        deadline = time.monotonic() + _SHARED_STORAGE_SECONDS
        while (problem := self._unlike_chief(config)) and time.monotonic() < deadline:
            time.sleep(0.1)
        if problem:
            raise FileError(problem)

    def _unlike_chief(self, config: RunConfig) -> str | None:
        """Returns how this worker's run differs from the chief's, or None. The folder of the data may differ."""
        if not self.config_file.exists():
            return (
                f"--workdir={self.workdir}: this worker does not see the run that the chief has begun there; "
                "choose a folder on storage that all workers share"
            )
        chiefs = self._read_config().to_dict()
        for group, values in config.to_dict().items():
            for name, value in values.items():
                left_open = name in _LEFT_TO_THE_CHIEF and value == _LEFT_TO_THE_CHIEF[name]
                own_choice = name == "data_dir" or left_open
                if value != chiefs[group][name] and not own_choice:
                    return (
                        f"{name} is {value!r} on this worker and {chiefs[group][name]!r} on the chief; start all "
                        "workers with the same flags"
                    )
        return None

    @contextlib.contextmanager
    def checkpoint_folder(self, is_chief: bool):
        """Yields the folder to save to: `checkpoints` for the chief, a temporary folder for other workers.

        All workers must save, because TensorFlow may have to sum a variable over workers. Only the chief's files stay.
        """
        if is_chief:
            yield self.checkpoints
        else:
            with tempfile.TemporaryDirectory(prefix="pixelvae_tf-") as folder:
                yield pathlib.Path(folder)

    def config(self) -> RunConfig:
        """Returns the recorded configuration, which is read once. Raises FileError if it is missing or damaged."""
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
        """Reads the record of the best weights, or returns None before the first validation.

        Raises:
            FileError: for a damaged record.
        """
        return self._best.record()

    def save_best(self, model: PixelVAE, record: dict) -> None:
        """Saves the model's weights as the best ones. The previous best weights stay until these are complete."""
        self.check_in_place()
        self._best.save(model, record)

    def best_weights(self) -> tuple[pathlib.Path, dict]:
        """Returns the file of the best weights, verified, and its record.

        Raises:
            FileError: if there is no run or there are no weights, if the weights file is damaged, or if its model is
                not the one that config.json describes.
        """
        return self._best.checked(self.config())

    def check_best(self, *, will_validate: bool) -> str | None:
        """Checks the best weights before training continues; see `BestWeights.discard_damaged`."""
        return self._best.discard_damaged(self.config(), will_validate=will_validate)

    def add_history(self, entry: dict) -> None:
        """Appends a validation to the history. Drops entries from its step on, which an interrupted run left."""
        self.check_in_place()
        kept = [old for old in self.history() if old["step"] < entry["step"]]
        history.write(self.history_file, [*kept, entry])

    def history(self) -> list[dict]:
        """Returns all validations so far, by step. Raises FileError for a damaged line."""
        return history.read(self.history_file)

    def keep_evaluation(self, split: str, record: dict) -> None:
        """Writes the evaluation of a split in place of an earlier one."""
        files.write_json(self._evaluation(split), record)

    def check_evaluation(self, split: str) -> None:
        """Raises FileError if `keep_evaluation` could not write."""
        if reason := files.unwritable(self.workdir):
            raise FileError(
                f"--workdir={self.workdir}: may not be written ({reason}), where eval_{split}.json belongs; let it be "
                "written or copy the run"
            )
        files.remove_leftovers(self.workdir, self._evaluation(split).name)

    def _evaluation(self, split: str) -> pathlib.Path:
        return self.workdir / f"eval_{split}.json"

    def record(self) -> dict:
        """Returns everything that the run recorded: configuration, summary, evaluations by split, history.

        Leaves out the folder of the data, which means nothing on other machines.

        Raises:
            FileError: if the run is not finished.
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
