"""Finds the records of runs: in work directories, or else among the committed records."""

from __future__ import annotations

import pathlib
import re
from typing import Any, NamedTuple

from pixelvae_tf import files
from pixelvae_tf.commandline.flags import UsageError, configuration
from pixelvae_tf.config import ConfigError, RunConfig
from pixelvae_tf.runs.workdir import Run

NO_RUN = "no run"
FLAG_FILES = pathlib.Path(__file__).parents[2] / "flags"


class Found(NamedTuple):
    """The record of a run, as `Run.record` returns it; if there is none, the reason."""

    record: dict | None
    problem: str = ""


class Records:
    """Searches folders for runs.

    Args:
        results: folder of committed records, NAME.json.
        work_directories: folder of work directories, NAME/, which are preferred; None for records only.
    """

    def __init__(self, results: pathlib.Path, work_directories: pathlib.Path | None = None):
        self.results = results
        self.work_directories = work_directories

    def committed(self, name: str) -> Any | None:
        """Returns the content of results/NAME.json, or None."""
        path = self.results / f"{name}.json"
        return files.read_json(path) if path.exists() else None

    def workdir(self, name: str) -> Run | None:
        """Returns the work directory of this name, or None."""
        run = None if self.work_directories is None else Run(self.work_directories / name)
        return run if run and run.config_file.exists() else None

    def run(self, name: str, flag_file: str | None = None, *changes: str) -> Found:
        """Finds a finished run of a flag file's model on its dataset, of any length.

        Args:
            name: name of the work directory and the record.
            flag_file: name of the flag file in flags/, if it differs.
            changes: additional flags of the run.
        """
        run = self.workdir(name)
        record = run.record() if run and run.summary_file.exists() else self.committed(name)
        if record is None:
            return Found(None, NO_RUN)
        return checked(name, record, flag_file or name, *changes)

    def matching(self, pattern: str) -> list[re.Match]:
        """Returns the full matches of a regular expression among the names of work directories and records."""
        names = {path.stem for path in self.results.glob("*.json")}
        if self.work_directories is not None:
            names |= {path.parent.name for path in self.work_directories.glob("*/summary.json")}
        return [found for name in sorted(names) if (found := re.fullmatch(pattern, name))]


def checked(name: str, record: dict, flag_file: str, *changes: str) -> Found:
    """Checks that a record's configuration has the model and dataset of a flag file."""
    try:
        difference = unlike(RunConfig.from_dict(record["config"]), flag_file, *changes)
    except ConfigError as error:
        difference = str(error)
    return Found(None, f"`{name}` is not flags/{flag_file}.cfg: {difference}") if difference else Found(record)


def unlike(config: RunConfig, flag_file: str, *changes: str) -> str | None:
    """Returns the first difference between a run's model or dataset and a flag file's, or None."""
    path, model = FLAG_FILES / f"{flag_file}.cfg", config.model
    asked = configuration(path, list(changes), model.image_shape, model.pixel_levels)
    return RunConfig(asked.model, asked.data).difference(RunConfig(model, config.data))


def evaluation(name: str, record: dict, split: str) -> dict:
    """Returns the evaluation on a split. Raises UsageError if there is none."""
    if split not in record["evaluations"]:
        raise UsageError(f"{name}.json: no evaluation of --split={split}: make it, and the record again")
    return record["evaluations"][split]


def continued(record: dict) -> list[str]:
    """Returns the names of the runs or pretrained models whose weights a run started from: none, one or several."""
    sources = record["config"]["training"].get("initialize_from", "")
    return [pathlib.PurePath(source).name for source in sources.split(",") if source]


def budget(record: dict) -> str:
    """Describes the cost of a run."""
    summary, training = record["summary"], record["config"]["training"]
    sources = [f"`{name}`" for name in continued(record)]
    source = f" from the {'mean of the ' if len(sources) > 1 else ''}weights of {_listed(sources)}" if sources else ""
    return (
        f"{summary['steps']:,} steps of {training['batch_size']}{source}, {summary['training_seconds'] / 60:.1f} "
        f"minutes on {summary['hardware']}, seed {summary['seed']}"
    )


def _listed(words: list[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
