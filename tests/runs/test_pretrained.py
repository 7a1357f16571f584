"""The models inside the package: what their records say of them, by name and from the command line, damaged or not."""

import copy
import json
import os
import pathlib
import re
import shutil

import numpy as np
import pytest
import workdirs
from commands import ROOT, error_line, run, tool

import pixelvae_tf
from pixelvae_tf import data, files
from pixelvae_tf.config import DataConfig, RunConfig
from pixelvae_tf.evaluation.likelihood import evaluate
from pixelvae_tf.files import FileError
from pixelvae_tf.runs import pretrained, weight_files
from pixelvae_tf.runs.trained import find, load_best
from pixelvae_tf.runs.workdir import Run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of the package's models that a test may damage."""
    copied = tmp_path / "pretrained"
    shutil.copytree(pretrained.FOLDER, copied, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(pretrained, "FOLDER", copied)
    return copied


def publish(workdir, folder, name: str):
    return tool("publish", f"--workdir={workdir}", f"--folder={folder}", f"--name={name}")


def finish(workdir: pathlib.Path, **of_test) -> None:
    """Adds to a work directory what the end of a training and an evaluation of its weights leave there."""
    best = Run(workdir).best()
    files.write_json(workdir / "summary.json", {"best_step": best["step"], "seed": 0, "hardware": "none"})
    found = {"nll_bound_nats": 120.0, "num_examples": 300, "checkpoint_step": best["step"], **of_test}
    Run(workdir).keep_evaluation("test", found)


@pytest.mark.parametrize("name", pretrained.names())
def test_a_record_says_how_the_weights_came_about_and_what_they_score(name):
    record = pretrained.Pretrained(name).record()
    assert {"steps", "seed", "training_seconds", "hardware", "revision", "tensorflow"} <= set(record["summary"])
    found = record["evaluations"]["test"]
    assert {"num_examples", "nll_bound_nats", "nll_bound_stderr", "nll_importance_nats"} <= set(found)
    assert found["checkpoint_step"] == record["best"]["step"] == record["summary"]["best_step"]
    assert record["config"]["data"]["data_dir"] == ""


def test_the_pretrained_digits_score_what_their_record_says():
    found = pretrained.Pretrained("digits").record()["evaluations"]["test"]
    images = data.evaluation_batches(DataConfig(), "test", batch_size=100)
    measured = evaluate(pixelvae_tf.load("digits"), images, seed=found["seed"]).summary()
    for name in ("num_examples", "nll_bound_nats", "reconstruction_nats", "kl_nats"):
        assert measured[name] == pytest.approx(found[name], rel=1e-5)


@pytest.mark.skipif("PIXELVAE_TEST_TFDS_DIR" not in os.environ, reason="PIXELVAE_TEST_TFDS_DIR names no data")
def test_the_pretrained_mnist_scores_the_first_test_images_as_its_record_says_of_all():
    model = pixelvae_tf.load("binarized_mnist_best")
    found = pretrained.Pretrained("binarized_mnist_best").record()["evaluations"]["test"]
    config = DataConfig("binarized_mnist", os.environ["PIXELVAE_TEST_TFDS_DIR"])
    count = min(200, found["num_examples"])
    measured = evaluate(model, data.evaluation_batches(config, "test", batch_size=100, max_examples=count)).summary()
    # What a sample of so many images can be off by.
    error = found["nll_bound_stderr"] * np.sqrt(found["num_examples"] / count)
    assert abs(measured["nll_bound_nats"] - found["nll_bound_nats"]) < 4 * error


def test_a_name_is_the_models_and_a_path_is_a_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = workdirs.with_weights(tmp_path / "digits")
    assert pixelvae_tf.load("digits").config == pretrained.Pretrained("digits").config().model
    for path in ("./digits", pathlib.Path("digits"), small):
        assert pixelvae_tf.load(path).config == workdirs.DIGITS
    with pytest.raises(FileError, match="'digit'.*no pretrained model.*binarized_mnist_best, .*digits"):
        pixelvae_tf.load("digit")
    with pytest.raises(FileError, match="some/run.*no such folder"):
        pixelvae_tf.load("some/run")


def test_a_former_name_gives_the_same_model():
    for former, present in pretrained.FORMER_NAMES.items():
        assert present in pretrained.names()
        assert find(former).weights_file == pretrained.Pretrained(present).weights_file
        assert find(former).name == present


def test_a_damaged_weights_file_is_told_as_such(folder):
    weights = folder / "digits.weights.h5"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(FileError, match="digits.weights.h5.*damaged.*digits.json"):
        pixelvae_tf.load("digits")
    weights.unlink()
    with pytest.raises(FileError, match="digits.weights.h5.*missing"):
        pixelvae_tf.load("digits")


def test_a_record_of_another_configuration_is_refused_by_field(folder):
    record = json.loads((folder / "digits.json").read_text())
    for field, value, words in (("kernel_size", 5, "kernel_size was 3 and is now 5"), ("depth", 1, "depth.*no such")):
        changed = copy.deepcopy(record)
        changed["config"]["model"][field] = value
        (folder / "digits.json").write_text(json.dumps(changed))
        with pytest.raises(FileError, match=f"digits.json.*{words}"):
            pixelvae_tf.load("digits")


def test_the_commands_take_a_pretrained_model_in_place_of_a_run_and_leave_nothing_behind(tmp_path):
    result = run("evaluate", "--pretrained=digits", "--max_examples=20", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["pretrained"] == "digits"
    assert list(tmp_path.iterdir()) == []
    result = run(
        "complete",
        "--pretrained=digits",
        "--split=test",
        "--num_images=1",
        "--num_samples=1",
        "--keep_rows=4",
        "--output=a.png",
        cwd=tmp_path,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("command", ["evaluate", "export", "sample"])
def test_one_model_has_to_be_named_and_a_known_one(command, tmp_path):
    def refused(*flags: str) -> str:
        return error_line(run(command, *flags, *(["--output=a.png"] if command == "sample" else []), cwd=tmp_path))

    for flags in ([], ["--workdir=run", "--pretrained=digits"]):
        line = refused(*flags)
        assert "--workdir, --pretrained: give one of the two" in line
    line = refused("--pretrained=minst")
    assert all(name in line for name in ("minst", *pretrained.names()))


def test_publishing_a_run_makes_its_weights_load_by_name_and_again_replaces_them(folder, tmp_path):
    for seed in (1, 2):
        workdir = workdirs.with_weights(tmp_path / str(seed), seed=seed)
        finish(workdir)
        result = publish(workdir, folder, "small")
        assert result.returncode == 0, result.stderr
        assert "small: step 7, test bound 120.00 nats on 300 images" in result.stdout
        model, best = load_best(find("small"))
        assert best.items() >= {"step": 7, "weights": "raw", "nll_bound_nats": 130.0}.items()
        for published, trained in zip(model.weights, pixelvae_tf.load(workdir).weights, strict=True):
            np.testing.assert_array_equal(published, trained)
    assert {path.name for path in folder.glob("*small*")} == {"small.json", "small.weights.h5"}


def test_a_run_that_is_not_finished_and_evaluated_is_not_published(tmp_path):
    workdir = workdirs.with_weights(tmp_path / "run")
    folder = tmp_path / "folder"
    folder.mkdir()
    assert "not finished" in error_line(publish(workdir, folder, "small"))
    finish(workdir, checkpoint_step=6)
    line = error_line(publish(workdir, folder, "small"))
    assert "step 7, were not evaluated on test: python -m pixelvae_tf.evaluate --workdir" in line
    files.write_json(workdir / "summary.json", {"best_step": 3})
    assert "continue it to its end" in error_line(publish(workdir, folder, "small"))
    assert "--name='../a'" in error_line(publish(workdir, folder, "../a"))
    assert list(folder.iterdir()) == []


def test_extracted_weights_are_of_the_model_alone(tmp_path):
    import h5py
    import keras

    model = pixelvae_tf.PixelVAE(workdirs.DIGITS)
    model.compile(keras.optimizers.Adam())
    model.optimizer.build(model.trainable_variables)
    whole, extracted = tmp_path / "whole.weights.h5", tmp_path / "extracted.weights.h5"
    model.save_weights(whole)
    weight_files.extract(whole, extracted, workdirs.DIGITS)
    with h5py.File(whole) as old, h5py.File(extracted) as new:
        assert set(old) - set(new) == {"optimizer"}
    assert weight_files.configuration(extracted) == workdirs.DIGITS
    again = pixelvae_tf.PixelVAE(workdirs.DIGITS)
    again.load_weights(extracted)
    for mine, theirs in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_distribution_holds_all_of_the_models(monkeypatch):
    from setuptools import Distribution

    monkeypatch.chdir(ROOT)
    distribution = Distribution({"script_name": "setup.py"})
    distribution.parse_config_files()
    build = distribution.get_command_obj("build_py")
    build.ensure_finalized()
    packed = {package: set(names) for package, _, _, names in build.data_files}
    there = {f"{name}.{ending}" for name in pretrained.names() for ending in ("json", "weights.h5")}
    assert packed["pixelvae_tf.pretrained"] == there


def test_a_portable_configuration_names_no_folder_of_this_machine():
    config = RunConfig(data=DataConfig("mnist", "/somewhere", image_size=28))
    assert config.portable() == RunConfig(data=DataConfig("mnist", image_size=28))
    for name in pretrained.names():
        assert not re.search(r'"/\w+', (pretrained.FOLDER / f"{name}.json").read_text())
