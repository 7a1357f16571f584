"""A run goes on from its newest whole checkpoint, whatever became of the others and of the file that lists them."""

import types

import keras
import pytest
import tensorflow as tf

from pixelvae_tf.files import FileError
from pixelvae_tf.runs.workdir import Run
from pixelvae_tf.training import callbacks
from pixelvae_tf.training import run as training

SHARD = "data-00000-of-00001"


class Steps:
    """The state of a training that only counts."""

    def __init__(self):
        optimizer = keras.optimizers.SGD()
        optimizer.build([])
        self.model = types.SimpleNamespace(optimizer=optimizer)
        self.checkpoint = tf.train.Checkpoint(optimizer=optimizer, weights=tf.Variable(tf.range(100.0)))

    def restore(self, run: Run) -> tuple[int, list[str]]:
        step, notes = training._restore(self.checkpoint, self.model, run, every=10)
        assert step == int(self.model.optimizer.iterations.numpy())
        return step, notes


@pytest.fixture
def run(tmp_path) -> Run:
    """A run with checkpoints of steps 10 and 20."""
    run, made = Run(tmp_path / "run"), Steps()
    manager = tf.train.CheckpointManager(made.checkpoint, str(run.checkpoints), 2)
    for step in (10, 20):
        made.model.optimizer.iterations.assign(step)
        manager.save(checkpoint_number=step)
    return run


def cut(path, part=0.5):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])


@pytest.mark.parametrize("content", [None, b"", bytes(260), b'model_checkpoint_path: "ckpt-1', b"\xff\xfe" * 40])
def test_a_damaged_list_of_checkpoints_loses_none(content, run):
    listing = run.checkpoints / "checkpoint"
    listing.unlink() if content is None else listing.write_bytes(content)
    assert Steps().restore(run) == (20, [])
    training._make_ready(run, 20, [])
    assert tf.train.latest_checkpoint(str(run.checkpoints)) == str(run.checkpoints / "ckpt-20")


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: cut(folder / f"ckpt-20.{SHARD}"),
        lambda folder: cut(folder / "ckpt-20.index"),
        lambda folder: (folder / "ckpt-20.index").unlink(),
        lambda folder: (folder / f"ckpt-20.{SHARD}").unlink(),
        lambda folder: (folder / f"ckpt-20.{SHARD}").write_bytes(bytes((folder / f"ckpt-20.{SHARD}").stat().st_size)),
    ],
)
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_taken(damage, run, capsys):
    damage(run.checkpoints)
    step, notes = Steps().restore(run)
    assert step == 10
    training._make_ready(run, step, notes)
    line = capsys.readouterr().out
    assert "ckpt-20: this checkpoint is damaged" in line and "the run goes on from step 10" in line
    assert line.count("\n") == 1


def test_a_damaged_checkpoint_is_the_first_to_be_deleted(run):
    cut(run.checkpoints / f"ckpt-20.{SHARD}")
    made = Steps()
    step, notes = made.restore(run)
    training._make_ready(run, step, notes)
    manager = tf.train.CheckpointManager(made.checkpoint, str(run.checkpoints), 2)
    made.model.optimizer.iterations.assign(15)
    manager.save(checkpoint_number=15)
    assert sorted({path.name.split(".")[0] for path in run.checkpoints.glob("ckpt-*")}) == ["ckpt-10", "ckpt-15"]


def test_without_a_whole_checkpoint_a_run_does_not_begin_again(run):
    for step in (10, 20):
        cut(run.checkpoints / f"ckpt-{step}.{SHARD}")
    with pytest.raises(FileError, match="ckpt-20: this checkpoint is damaged .*no other there is whole"):
        Steps().restore(run)
    for path in run.checkpoints.glob("ckpt-*"):
        path.unlink()
    with pytest.raises(FileError, match="holds no checkpoint, but the run has had one"):
        Steps().restore(run)
    (run.checkpoints / "checkpoint").unlink()
    assert Steps().restore(run) == (0, [])
    run.add_history({"step": 20, "bound": 1.0})
    with pytest.raises(FileError, match="holds no checkpoint, but the run has had one"):
        Steps().restore(run)


@pytest.mark.parametrize("left", [0, 100])
def test_a_run_that_is_killed_in_its_first_save_begins_again(left, run, capsys):
    # TensorFlow writes the index last and in place, and its list of checkpoints after that.
    for path in run.checkpoints.glob("ckpt-20.*"):
        path.unlink()
    (run.checkpoints / "checkpoint").unlink()
    index = run.checkpoints / "ckpt-10.index"
    whole = index.read_bytes()
    index.write_bytes(whole[:left])
    made = Steps()
    step, notes = made.restore(run)
    assert (step, int(made.model.optimizer.iterations)) == (0, 0)
    training._make_ready(run, step, notes)
    assert "ckpt-10: the first save did not end" in (line := capsys.readouterr().out)
    assert "the run goes on from step 0" in line and line.count("\n") == 1
    index.write_bytes(whole)
    assert Steps().restore(run) == (10, [])


def test_nothing_is_saved_where_the_folder_is_no_longer_the_runs(run):
    def refuse():
        raise FileError("gone")

    saving = callbacks.Checkpoints(None, 1, refuse)
    with pytest.raises(FileError, match="gone"):
        saving.after_step(1, {})


def test_two_signals_at_once_are_one_request_and_a_later_one_ends_at_once(monkeypatch):
    import signal

    # A shell has what it starts in the background ignore SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    stop = callbacks.StopOnSignal()
    stop.on_train_begin()
    try:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert stop.received == "SIGTERM"
        monkeypatch.setattr(stop, "TOGETHER_SECONDS", -1.0)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        stop.close()
        signal.signal(signal.SIGINT, before)
