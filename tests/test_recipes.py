"""`tools/reproduce.py run`: makes the runs behind a table one after the other, and goes on where it was stopped."""

import re
import sys
import time

import pytest
from commands import ROOT, error_line, tool
from workdirs import with_weights

from pixelvae_tf import files
from pixelvae_tf.errors import UserError
from pixelvae_tf.runs.workdir import Run

sys.path.insert(0, str(ROOT / "tools"))
from reproduction import recipes

TWO = {
    "pair": (
        recipes.Recipe("first", ("--steps=7",)),
        recipes.Recipe("second", (), importance_samples=5, continues=("first",)),
    )
}


@pytest.fixture
def commands(monkeypatch):
    """Replaces the commands by what they leave behind; gives the list of those that were run."""
    given = []

    def run(words, deadline):
        given.append(words)
        flags = dict(re.findall(r"--(\w+)=(.*)", "\n".join(words)))
        workdir = Run(flags["workdir"])
        if words[0] == "pixelvae_tf.train":
            with_weights(workdir.workdir)
            files.write_json(workdir.summary_file, {"steps": workdir.config().training.steps, "best_step": 7})
        else:
            samples = {"importance_samples": int(flags["importance_samples"])} if "importance_samples" in flags else {}
            measured = {"checkpoint_step": workdir.best()["step"], "nll_bound_nats": 130.0}
            workdir.keep_evaluation(flags["split"], {**measured, **samples})

    monkeypatch.setattr(recipes, "_command", run)
    monkeypatch.setattr(recipes, "RECIPES", TWO)
    return given


def make(folder, **settings) -> list[str]:
    told = []
    (folder / "results").mkdir(exist_ok=True)
    recipes.make("pair", folder / "runs", folder / "results", report=told.append, **settings)
    return told


def test_every_run_is_trained_evaluated_and_recorded_in_turn(commands, tmp_path):
    told = make(tmp_path, data_dir="prepared")
    assert [words[0] for words in commands] == ["pixelvae_tf.train", "pixelvae_tf.evaluate"] * 2
    assert "--steps=7" in commands[0] and f"--workdir={tmp_path / 'runs' / 'first'}" in commands[0]
    assert all("--data_dir=prepared" in words for words in commands)
    starts = [[word for word in words if word.startswith("--initialize_from")] for words in commands]
    assert starts == [[], [], [f"--initialize_from={tmp_path / 'runs' / 'first'}"], []]
    assert "--importance_samples=5" in commands[3] and "--split=test" in commands[3]
    assert told[:2] == ["pair, run 1 of 2, first: training", "pair, run 1 of 2, first: evaluating on test"]
    for name in ("first", "second"):
        assert "test" in files.read_json(tmp_path / "results" / f"{name}.json")["evaluations"]


def test_what_is_done_is_skipped_and_what_is_not_is_done(commands, tmp_path):
    make(tmp_path)
    commands.clear()
    assert make(tmp_path) == ["pair, run 1 of 2, first: done", "pair, run 2 of 2, second: done"]
    assert commands == []
    # The evaluation of other weights, or with fewer importance samples, is none.
    second = Run(tmp_path / "runs" / "second")
    fewer = {"checkpoint_step": second.best()["step"], "nll_bound_nats": 130.0, "importance_samples": 4}
    second.keep_evaluation("test", fewer)
    make(tmp_path)
    assert [words[0] for words in commands] == ["pixelvae_tf.train", "pixelvae_tf.evaluate"]


def test_a_training_that_a_signal_stopped_is_not_evaluated(commands, tmp_path, monkeypatch):
    def stopped(words, deadline):
        commands.append(words)
        with_weights(tmp_path / "runs" / "first")

    monkeypatch.setattr(recipes, "_command", stopped)
    with pytest.raises(UserError, match="first was stopped; the same command continues it"):
        make(tmp_path)
    assert [words[0] for words in commands] == ["pixelvae_tf.train"]


def test_the_end_of_the_time_stops_a_command_and_keeps_the_rest(monkeypatch):
    # A server runs until it is told to stop.
    with pytest.raises(recipes.OutOfTime, match="--minutes"):
        recipes._command(["http.server", "--bind", "127.0.0.1", "0"], time.monotonic() + 0.2)
    with pytest.raises(recipes.OutOfTime):
        recipes._command(["no.such.module"], time.monotonic() - 1)


def test_a_command_that_fails_ends_it(capfd):
    with pytest.raises(UserError, match="this_module_is_not_there stopped with exit code 1"):
        recipes._command(["this_module_is_not_there"], None)


def test_the_flag_files_of_all_recipes_are_there():
    for recipe in (recipe for of_name in recipes.RECIPES.values() for recipe in of_name):
        flag_files = [flag.partition("=")[2] for flag in recipe.train if flag.startswith("--flagfile=")]
        assert flag_files
        assert all((ROOT / file).is_file() for file in flag_files)


def test_a_run_continues_an_earlier_one_of_its_table():
    continuing = 0
    for recipe_set in recipes.RECIPES.values():
        for number, recipe in enumerate(recipe_set):
            if recipe.continues:
                continuing += 1
                assert set(recipe.continues) <= {earlier.name for earlier in recipe_set[:number]}
    assert continuing


def test_a_run_that_continues_several_is_given_them_all(commands, tmp_path, monkeypatch):
    mean = recipes.Recipe("mean", (), continues=("first", "second"))
    monkeypatch.setattr(recipes, "RECIPES", {"pair": (*TWO["pair"], mean)})
    make(tmp_path)
    sources = ",".join(str(tmp_path / "runs" / name) for name in ("first", "second"))
    assert f"--initialize_from={sources}" in commands[4]


def test_no_two_recipes_of_a_table_share_a_work_directory():
    for recipe_set in recipes.RECIPES.values():
        names = [recipe.name for recipe in recipe_set]
        assert len(set(names)) == len(names)


def test_another_name_is_refused_with_those_there_are():
    line = error_line(tool("reproduce", "run", "tabel1"))
    assert "tabel1" in line and "table1" in line and "figure4" in line
