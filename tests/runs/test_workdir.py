"""A work directory after kills, damage and meddling: one training at a time, nothing lost or left, nothing silent."""

import errno
import json
import multiprocessing
import os
import re
import shutil

import h5py
import keras
import models
import pytest
import tiny
import workdirs

from pixelvae_tf import files
from pixelvae_tf.config import DataConfig, RunConfig, TrainConfig
from pixelvae_tf.files import FileError
from pixelvae_tf.runs import checkpoints, history, lock, weight_files
from pixelvae_tf.runs.pretrained import Pretrained
from pixelvae_tf.runs.trained import load_best
from pixelvae_tf.runs.workdir import Run
from pixelvae_tf.training.soap import SOAP

CONFIG = RunConfig(workdirs.DIGITS, DataConfig(), TrainConfig())
GONE = 2**22 + 1


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return workdirs.with_weights(tmp_path_factory.mktemp("made") / "run")


@pytest.fixture
def run(made, tmp_path) -> Run:
    """A run with weights."""
    return Run(shutil.copytree(made, tmp_path / "run"))


def hold(folder, held, done):
    with Run(folder).in_training():
        held.set()
        done.wait(60)


def test_a_second_training_is_refused_in_the_folder_of_the_first(tmp_path):
    run = Run(tmp_path / "run")
    with run.in_training():
        message = f"another training is at work there .process {os.getpid()} on "
        with pytest.raises(FileError, match=message), Run(run.workdir).in_training():
            pass
    with Run(run.workdir).in_training():
        pass
    assert not os.listdir(run.workdir)


def test_the_lock_of_a_killed_process_does_not_hold(tmp_path):
    context = multiprocessing.get_context("fork")
    held, done = context.Event(), context.Event()
    process = context.Process(target=hold, args=(tmp_path / "run", held, done))
    process.start()
    assert held.wait(60)
    with pytest.raises(FileError, match=f"process {process.pid} "), Run(tmp_path / "run").in_training():
        pass
    process.kill()
    process.join()
    assert (tmp_path / "run" / lock.NAME).exists()
    with Run(tmp_path / "run").in_training():
        pass


@pytest.mark.parametrize(
    "how", [shutil.rmtree, lambda folder: folder.rename(folder.with_name(f"{folder.name} elsewhere"))]
)
def test_a_folder_that_goes_away_under_a_training_ends_it_in_a_line(how, tmp_path):
    run = Run(tmp_path / "first")
    with pytest.raises(FileError, match="was removed, renamed or replaced"), run.in_training():
        run.claim(CONFIG)
        how(run.workdir)
        run.add_history({"step": 1, "bound": 1.0})
    assert not run.workdir.exists()
    run = Run(tmp_path / "second")
    with pytest.raises(FileError, match="was removed, renamed or replaced"), run.in_training():
        how(run.workdir)
        raise OSError("whatever this led to")
    assert not run.workdir.exists()


def test_a_start_that_was_killed_before_its_first_file_was_whole_is_begun_again(tmp_path):
    run = Run(tmp_path / "run")
    run.workdir.mkdir()
    for name in (f".{GONE}.config.json", f".{os.getppid()}.config.json", lock.NAME):
        (run.workdir / name).touch()
    with run.in_training():
        run.claim(CONFIG)
    # What may be of a living process stays.
    assert sorted(os.listdir(run.workdir)) == [f".{os.getppid()}.config.json", "config.json"]


def test_a_start_removes_what_kills_left_and_nothing_else(run):
    run.checkpoints.mkdir()
    left = [run.workdir / f".{GONE}.history.jsonl", run.best_folder / f".{GONE}.best.json"]
    left += [run.checkpoints / name for name in ("ckpt-2.index.tempstate123", "checkpoint.tmp0f")]
    kept = [run.workdir / ".notes", run.best_folder / "mine.txt", run.checkpoints / "ckpt-2.index"]
    for path in (*left, *kept):
        path.touch()
    (run.checkpoints / "ckpt-3_temp").mkdir()
    (run.best_folder / "step-00000003.weights.h5").touch()
    with run.in_training():
        assert run.check_best(will_validate=True) is None
    assert not any(path.exists() for path in left) and all(path.exists() for path in kept)
    assert not (run.checkpoints / "ckpt-3_temp").exists()
    assert [path.name for path in run.best_folder.glob("*.h5")] == ["step-00000007.weights.h5"]


def write_history(run, lines):
    run.history_file.write_text("\n".join(lines))


ENTRIES = [{"step": step, "bound": 100.0 - step} for step in (10, 20, 30)]
LINES = [json.dumps(entry) for entry in ENTRIES]


@pytest.mark.parametrize("end", [LINES[2][:-5], "\0\0\0", '{"step": 30}', '{"step": 30, "bound": NaN}', "\udcff", "7"])
def test_a_damaged_last_line_of_the_history_is_dropped_before_training(end, run):
    run.history_file.write_bytes("\n".join([*LINES[:2], end]).encode(errors="surrogateescape"))
    with pytest.raises(FileError, match=r"history.jsonl: line 3 is damaged"):
        run.history()
    assert "its damaged last line dropped" in history.mend(run.history_file)
    assert run.history() == ENTRIES[:2]
    assert history.mend(run.history_file) is None


def test_damage_in_the_middle_of_the_history_is_refused_and_doubled_lines_are_dropped(run):
    write_history(run, [LINES[0], "{", LINES[2]])
    with pytest.raises(FileError, match="line 2 is damaged"):
        history.mend(run.history_file)
    write_history(run, [LINES[0], "{", "{"])
    with pytest.raises(FileError, match="line 2 is damaged"):
        history.mend(run.history_file)
    write_history(run, [LINES[0], LINES[1], LINES[0], LINES[2], LINES[2]])
    assert "2 doubled lines dropped" in history.mend(run.history_file)
    assert run.history() == ENTRIES


def damage_weights(run):
    weights, _ = run.best_weights()
    weights.write_bytes(weights.read_bytes()[:-1])


def rename_field(name):
    return lambda run: run.best_file.write_text(run.best_file.read_text().replace(f'"{name}"', f'"x{name}"'))


@pytest.mark.parametrize(
    "damage", [damage_weights, *map(rename_field, ["step", "nll_bound_nats", "weights", "file", "sha256"])]
)
def test_damaged_best_weights_are_found_on_resume_and_written_anew(damage, run):
    damage(run)
    with pytest.raises(FileError, match=re.escape(str(run.best_folder))):
        run.best_weights()
    with pytest.raises(FileError, match="damaged"):
        run.check_best(will_validate=False)
    assert "damaged" in run.check_best(will_validate=True)
    # As before the first validation, whose weights are the best so far.
    assert run.best() is None


def change_config(run, old, new):
    text = run.config_file.read_text()
    assert old in text
    run.config_file.write_text(text.replace(old, new))


def test_weights_that_the_disk_has_no_room_for_are_told_in_a_line_and_leave_the_earlier_ones(run, monkeypatch):
    before = run.best_weights()

    def refuse(path, size):
        assert size > before[0].stat().st_size
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "reserve", refuse)
    with pytest.raises(FileError, match="weights.h5: cannot be written .No space left on device."):
        run.save_best(tiny.model(workdirs.DIGITS, seed=1), {"step": 9, "weights": "raw", "nll_bound_nats": 120.0})
    assert run.best_weights() == before
    assert sorted(path.name for path in before[0].parent.iterdir()) == ["best.json", before[0].name]


def test_no_weights_file_is_larger_than_the_room_that_is_asked_for(tmp_path):
    for config, optimizer in ((workdirs.DIGITS, keras.optimizers.Adam()), (models.COLOR, SOAP())):
        model = tiny.model(config)
        model.compile(optimizer)
        model.save_weights(tmp_path / "model.weights.h5")
        assert (tmp_path / "model.weights.h5").stat().st_size < weight_files.largest_size(model)


def test_a_changed_configuration_is_not_that_of_the_weights(run):
    # A setting that no shape of a weight shows.
    change_config(run, '"activation": "gated"', '"activation": "relu"')
    for meet in (run.best_weights, lambda: run.check_best(will_validate=True)):
        with pytest.raises(FileError, match="config.json: is not the configuration of the weights .* activation was"):
            meet()


def test_weights_that_do_not_name_their_model_load_and_are_refused_in_a_line_where_they_do_not_fit(run):
    weights, best = run.best_weights()
    with h5py.File(weights, "r+") as file:
        del file.attrs["model_configuration"]
    best["sha256"] = files.sha256(weights)
    run.best_file.write_text(json.dumps(best))
    load_best(run)
    change_config(run, '"pixelcnn_channels": 4', '"pixelcnn_channels": 6')
    with pytest.raises(FileError, match="does not fit the model of its configuration") as caught:
        load_best(Run(run.workdir))
    assert "\n" not in str(caught.value)


def test_a_damaged_record_of_a_pretrained_model_is_named(tmp_path, monkeypatch):
    model = Pretrained("digits")
    whole = model.record_file.read_text()
    model.record_file = tmp_path / "digits.json"
    for name in ("config", "sha256", "best", "step", "nll_bound_nats"):
        model.record_file.write_text(whole.replace(f'"{name}"', f'"x{name}"'))
        with pytest.raises(FileError, match=r"digits\.json: .*install the package anew"):
            model.best_weights()


def test_steps_are_read_from_the_names_of_checkpoints(tmp_path):
    names = ["ckpt-7.index", "ckpt-7.data-00000-of-00001", "ckpt-70.data-00000-of-00001", "ckpt-8_temp", "checkpoint"]
    for name in names:
        (tmp_path / name).touch()
    assert checkpoints.steps(tmp_path) == [70, 7]
    assert [path.name for path in checkpoints.members(tmp_path, 7)] == ["ckpt-7.data-00000-of-00001", "ckpt-7.index"]
    assert checkpoints.steps(tmp_path / "absent") == []
