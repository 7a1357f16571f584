"""What packs the state of a training refuses what it cannot pack or unpack; `test_resume.py` has it go on."""

import zipfile

import pytest
import tensorflow as tf
import workdirs

from pixelvae_tf.files import FileError
from pixelvae_tf.runs import packing
from pixelvae_tf.runs.workdir import Run


@pytest.fixture
def run(tmp_path) -> Run:
    """A run with weights and two checkpoints."""
    run = Run(workdirs.with_weights(tmp_path / "run"))
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(number=tf.Variable(3)), str(run.checkpoints), 2)
    for step in (7, 70):
        manager.save(checkpoint_number=step)
    run.add_history({"step": 7, "bound": 130.0})
    return run


def test_the_last_checkpoint_the_history_and_the_best_weights_arrive(run, tmp_path):
    archive, elsewhere = tmp_path / "state.zip", Run(tmp_path / "a" / "b")
    assert packing.pack(run.workdir, archive) == 70
    assert packing.unpack(archive, elsewhere.workdir) == 70
    assert tf.train.latest_checkpoint(str(elsewhere.checkpoints)) == str(elsewhere.checkpoints / "ckpt-70")
    assert not list(elsewhere.checkpoints.glob("ckpt-7.*"))
    assert elsewhere.config() == run.config()
    assert elsewhere.history() == run.history()
    assert elsewhere.best_weights()[1]["step"] == 7
    # Nothing else is left beside it.
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_the_same_state_is_the_same_file(run, tmp_path):
    packing.pack(run.workdir, tmp_path / "a.zip")
    packing.pack(run.workdir, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_run_without_a_checkpoint_is_not_packed(tmp_path):
    workdir = workdirs.with_weights(tmp_path / "run")
    with pytest.raises(FileError, match="no checkpoint; train until step 500"):
        packing.pack(workdir, tmp_path / "state.zip")
    assert not (tmp_path / "state.zip").exists()


def test_a_damaged_or_foreign_file_is_told_and_nothing_made(run, tmp_path):
    archive, workdir = tmp_path / "state.zip", tmp_path / "elsewhere"
    with pytest.raises(FileError, match="state.zip: no such file"):
        packing.unpack(archive, workdir)
    packing.pack(run.workdir, archive)
    content = archive.read_bytes()
    for part in (content[:-100], content[:2000] + b"\0\0\0\0\0" + content[2005:], b"text"):
        archive.write_bytes(part)
        with pytest.raises(FileError, match="state.zip: damaged"):
            packing.unpack(archive, workdir)
    for name in ("../config.json", "config.json"):
        with zipfile.ZipFile(archive, "w") as packed:
            packed.writestr(name, "{}")
        with pytest.raises(FileError, match="state.zip: is not the packed state"):
            packing.unpack(archive, workdir)
    assert not workdir.exists()


def test_a_folder_that_holds_something_is_left_alone(run, tmp_path):
    packing.pack(run.workdir, tmp_path / "state.zip")
    before = sorted(run.workdir.rglob("*"))
    with pytest.raises(FileError, match="run: is there and not empty"):
        packing.unpack(tmp_path / "state.zip", run.workdir)
    assert sorted(run.workdir.rglob("*")) == before
