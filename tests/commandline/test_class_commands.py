"""The commands with a model of classes: labels by number or name, pictures, the record, and one line for wrong ones."""

import dataclasses
import json

import numpy as np
import pytest
from commands import error_line, run
from PIL import Image
from workdirs import DIGITS, with_weights

from pixelvae_tf import files
from pixelvae_tf.data import Classes
from pixelvae_tf.files import FileError
from pixelvae_tf.runs.workdir import Run

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = with_weights(tmp_path_factory.mktemp("classes") / "run", dataclasses.replace(DIGITS, num_classes=10))
    Run(folder).keep_classes(Classes(tuple("0123456789"), (1,) * 10))
    return folder


def test_samples_are_of_the_class_that_a_label_names_and_all_makes_a_row_of_each(workdir, tmp_path):
    named = tmp_path / "named"
    files.write_json(with_weights(named, dataclasses.replace(DIGITS, num_classes=10)) / "classes.json", {})
    Run(named).classes_file.unlink()
    Run(named).keep_classes(Classes(NAMES, (1,) * 10))
    found = {}
    for label, folder in (("3", workdir), ("three", named), ("4", workdir), ("all", named)):
        path = tmp_path / f"{label}.png"
        given = (f"--workdir={folder}", f"--label={label}", f"--output={path}")
        result = run("sample", *given, f"--num_samples={20 if label == 'all' else 2}")
        assert (result.returncode, result.stderr) == (0, "")
        found[label] = np.asarray(Image.open(path))
    np.testing.assert_array_equal(found["3"], found["three"])
    assert (found["3"] != found["4"]).any()
    # Ten rows of two, each with a border of a pixel.
    assert found["all"].shape[0] == 10 * 65 + 1


def test_evaluation_records_accuracies_by_bayes_rule_and_can_leave_them_out(workdir):
    given = (f"--workdir={workdir}", "--max_examples=30", "--importance_samples=2")
    record = json.loads(run("evaluate", *given).stdout)
    for estimate in ("bound", "importance"):
        assert 0.0 <= record[f"accuracy_{estimate}"] <= 1.0
        # Of the right class alone, or of all together: no further apart than a class tells.
        assert record[f"nll_{estimate}_marginal_nats"] <= record[f"nll_{estimate}_nats"] + np.log(10) + 0.1
    assert not any("accuracy" in name for name in json.loads(run("evaluate", *given, "--noaccuracy").stdout))


def test_completions_of_a_split_have_its_labels_and_those_of_files_the_given_one(workdir, tmp_path):
    given = (f"--workdir={workdir}", "--keep_rows=4", "--num_samples=1", f"--output={tmp_path / 'a.png'}")
    assert run("complete", *given, "--split=test", "--num_images=2").returncode == 0
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "black.png")
    assert run("complete", *given, f"--input={tmp_path / 'black.png'}", "--label=7").returncode == 0
    line = error_line(run("complete", *given, f"--input={tmp_path / 'black.png'}"))
    assert "--label: is missing; this model is of classes: give one of 0 to 9" in line


def test_a_label_that_the_model_has_not_is_refused_before_tensorflow_starts(workdir, tmp_path):
    output = f"--output={tmp_path / 'a.png'}"
    for flags, words in (
        ((), "--label: is missing"),
        (("--label=10",), "--label=10: this model has the classes 0 to 9, or 'all'"),
        (("--label=all", "--vary=pixels"), "--label=all, --vary=pixels"),
    ):
        assert words in error_line(run("sample", f"--workdir={workdir}", output, *flags))
    assert "has no classes" in error_line(run("sample", "--pretrained=digits", output, "--label=3"))
    assert "those of a split have their own" in error_line(run("evaluate", f"--workdir={workdir}", "--label=3"))


def test_a_run_goes_on_with_its_own_classes_alone(workdir):
    with pytest.raises(FileError, match="this run began with the classes 0, 1.*and now the images have zero, one"):
        Run(workdir).keep_classes(Classes(NAMES, (1,) * 10))
