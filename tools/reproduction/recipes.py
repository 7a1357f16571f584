"""Makes the runs behind each table and figure: trains, evaluates and records them one by one."""

from __future__ import annotations

import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from pixelvae_tf import files
from pixelvae_tf.commandline.flags import UsageError
from pixelvae_tf.errors import UserError
from pixelvae_tf.runs.workdir import Run
from reproduction.curves import LAYERS
from reproduction.likelihoods import second_seed
from reproduction.records import FLAG_FILES


class Recipe(NamedTuple):
    """One run.

    Attributes:
        name: name of the work directory and of the record.
        train: flags for `train`.
        split: split to evaluate on; empty for figures that only need validations.
        importance_samples: samples for the evaluation; 0 for no importance estimate.
        continues: names of the recipes, earlier in the same set, whose best weights the training starts from: the mean
            of several.
    """

    name: str
    train: tuple[str, ...]
    split: str = "test"
    importance_samples: int = 0
    continues: tuple[str, ...] = ()


def _of(*flag_files: str, name: str = "", changes: tuple[str, ...] = (), **settings) -> Recipe:
    """Makes a recipe from flag files, in order, and more flags."""
    given = tuple(f"--flagfile={FLAG_FILES / file}.cfg" for file in flag_files)
    return Recipe(name or flag_files[0], (*given, *changes), **settings)


def _seeds(flag_file: str, seeds: tuple[int, ...], **settings) -> list[Recipe]:
    """Makes a recipe for each seed, of runs whose weights another run averages."""
    names = zip(_names(flag_file, seeds), seeds, strict=True)
    return [_of(flag_file, name=name, changes=(f"--seed={seed}",), **settings) for name, seed in names]


def _names(flag_file: str, seeds: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(f"{flag_file}_seed{seed}" for seed in seeds)


# The systems of Table 1, and what each changes in the equal recipe.
_TABLE_1: dict[str, tuple[str, ...]] = {
    "mnist_vae": (),
    "mnist_pixelvae": (),
    # Without free bits z collapses: its KL falls from 16 nats at step 100 to 0.2 at step 200 and stays near 0.
    "mnist_gated_pixelvae": ("--free_bits=5",),
    "mnist": (),
    "mnist_gated_pixelcnn": (),
    "mnist_pixelcnn": (),
    "mnist_pixelrnn": (),
}
# The rows that one seed cannot tell apart: each is closer than 0.2 nats to another.
_CLOSE = ("mnist_pixelvae", "mnist_gated_pixelvae", "mnist_gated_pixelcnn", "mnist_pixelcnn", "mnist_pixelrnn")
_SECTION_42 = (
    "compare32",
    "compare32_one_level",
    "compare32_conv_vae",
    "compare32_gaussian_prior",
    "compare32_gated_pixelcnn",
    "compare32_pixelrnn",
)
_FIGURE_4 = tuple(
    _of("mnist_figure4", name=f"figure4_{layers}", changes=(f"--pixelcnn_layers={layers}",), split="")
    for layers in LAYERS
) + tuple(
    _of(
        "mnist_figure4",
        name=f"figure4_pixelcnn_{layers}",
        changes=(f"--pixelcnn_layers={layers}", "--latent_channels="),
        split="",
    )
    for layers in LAYERS
    if layers
)
RECIPES: dict[str, tuple[Recipe, ...]] = {
    "digits": (_of("digits", importance_samples=50), _of("digits_vae", importance_samples=50)),
    "classes": (_of("digits_conditional", importance_samples=50),),
    "table1": tuple(_of(system, "equal_budget_base", changes=changes) for system, changes in _TABLE_1.items()),
    "table1_seeds": tuple(
        _of(system, "equal_budget_base", name=second_seed(system), changes=(*_TABLE_1[system], "--seed=1"))
        for system in _CLOSE
    ),
    "flagship": (
        _of("mnist_dropout_flow", importance_samples=50),
        _of("mnist_augmented_flow", importance_samples=50, continues=("mnist_dropout_flow",)),
        _of("mnist_augmented_longer_flow", importance_samples=50, continues=("mnist_augmented_flow",)),
        *_seeds("mnist_finetuned_flow", (1, 2, 3), split="", continues=("mnist_augmented_longer_flow",)),
        *_seeds("mnist_soup_flow", (0, 1), continues=_names("mnist_finetuned_flow", (1, 2, 3))),
        _of("mnist_mean_flow", importance_samples=50, continues=_names("mnist_soup_flow", (0, 1))),
        *(_of(name, importance_samples=50) for name in ("mnist_dropout", "mnist_flow", "mnist_best", "mnist_adam")),
    ),
    "pixelvae_flow": (_of("mnist_pixelvae_flow"),),
    "figure4": _FIGURE_4,
    "section42": tuple(_of(name, split="validation") for name in _SECTION_42),
    "photographs": (_of("imagenet64_cpu", split="validation"),),
}


class OutOfTime(UserError):
    """The given time is over. Completed work is kept."""


def is_done(recipe: Recipe, run: Run) -> bool:
    """Returns whether a work directory holds the finished and evaluated run of a recipe."""
    if not _is_trained(run):
        return False
    if not recipe.split:
        return True
    evaluated = run.workdir / f"eval_{recipe.split}.json"
    found = files.read_json(evaluated) if evaluated.exists() else {}
    return (
        found.get("checkpoint_step") == run.best()["step"]
        and found.get("importance_samples", 0) >= recipe.importance_samples
    )


def _is_trained(run: Run) -> bool:
    """Returns whether a run took all its steps; a training that a signal stops ends without an error too."""
    return run.summary_file.exists() and files.read_json(run.summary_file)["steps"] >= run.config().training.steps


def make(
    name: str,
    runs: pathlib.Path,
    results: pathlib.Path,
    data_dir: str = "",
    minutes: float = 0.0,
    report: Callable[[str], None] = print,
) -> None:
    """Makes or continues every run behind a table or figure that is not finished.

    Args:
        name: a key of `RECIPES`.
        runs: folder of the work directories.
        results: folder of the records. Each is written when its run is finished.
        data_dir: folder of prepared data; empty for TFDS_DATA_DIR.
        minutes: time limit, at which training saves its state and stops; 0 for no limit.
        report: called with lines of progress.

    Raises:
        OutOfTime: at the time limit.
        UserError: if a command fails.
    """
    deadline = time.monotonic() + 60 * minutes if minutes else None
    data = [f"--data_dir={data_dir}"] if data_dir else []
    for number, recipe in enumerate(RECIPES[name], start=1):
        place = f"{name}, run {number} of {len(RECIPES[name])}, {recipe.name}"
        run = Run(runs / recipe.name)
        if run.config_file.exists() and is_done(recipe, run):
            report(f"{place}: done")
        else:
            report(f"{place}: training")
            workdir = f"--workdir={run.workdir}"
            sources = ",".join(str(runs / earlier) for earlier in recipe.continues)
            source = [f"--initialize_from={sources}"] if sources else []
            _command(["pixelvae_tf.train", *recipe.train, *source, *data, workdir], deadline)
            if not _is_trained(run):
                raise UserError(f"{recipe.name} was stopped; the same command continues it")
            if recipe.split:
                report(f"{place}: evaluating on {recipe.split}")
                samples = recipe.importance_samples
                asked = [f"--importance_samples={samples}"] if samples else []
                _command(["pixelvae_tf.evaluate", workdir, f"--split={recipe.split}", *asked, *data], deadline)
        files.write_json(results / f"{recipe.name}.json", run.record())


def _command(words: list[str], deadline: float | None) -> None:
    """Runs a command of the package to its end, or asks it to stop at the deadline."""
    left = None if deadline is None else deadline - time.monotonic()
    if left is not None and left <= 0:
        raise _out_of_time()
    process = subprocess.Popen([sys.executable, "-m", *words])
    try:
        code = process.wait(left)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        process.wait()
        raise _out_of_time() from None
    except KeyboardInterrupt:
        # The terminal interrupts the command too, which then saves its state.
        process.wait()
        raise
    if code:
        raise UserError(f"{words[0]} stopped with exit code {code}; its own message says why")


def _out_of_time() -> OutOfTime:
    return OutOfTime("--minutes are over; the same command goes on from here")


def known(name: str) -> str:
    """Returns the name of a set of recipes. Raises UsageError for an unknown name."""
    if name not in RECIPES:
        raise UsageError(f"run {name or 'nothing'!r}: run one of {', '.join(RECIPES)}")
    return name
