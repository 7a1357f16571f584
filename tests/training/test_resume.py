"""Interrupted training ends where training left alone ends, bit for bit."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import time
from typing import NamedTuple

import h5py
import numpy as np
import pytest
from commands import TINY, error_line, run, start, tool
from workdirs import checkpoint_of

FLAGS = [
    *TINY,
    "--deterministic",
    "--ema_decay=0.9",
    "--dropout=0.2",
    "--steps=100",
    "--validation_every=25",
    "--checkpoint_every=7",
    "--seed=3",
]


def weights_of(workdir) -> dict[str, np.ndarray]:
    """Every best weight by name, and so also the averaged ones of the last step."""
    best = json.loads((workdir / "best" / "best.json").read_text())
    found = {}
    with h5py.File(workdir / "best" / best["file"]) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if hasattr(item, "dtype") else None)
    assert found
    return found


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole") / "run"
    result = run("train", *FLAGS, f"--workdir={workdir}")
    assert result.returncode == 0, result.stderr
    return workdir


def interrupt(workdir, number: int, after_step: int) -> subprocess.CompletedProcess:
    """Starts training and sends it a signal once a checkpoint at or after the step is there."""
    process = start("train", *FLAGS, f"--workdir={workdir}")
    deadline = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < deadline:
        steps = [int(path.stem.split("-")[1]) for path in (workdir / "checkpoints").glob("ckpt-*.index")]
        if max(steps, default=0) >= after_step:
            process.send_signal(number)
            break
        time.sleep(0.005)
    return process.ended(100)


class Story(NamedTuple):
    """A run that was killed, ended by SIGTERM, carried elsewhere, ended by SIGINT, and left alone to its end."""

    workdir: pathlib.Path
    killed: subprocess.CompletedProcess
    signalled: dict[signal.Signals, subprocess.CompletedProcess]
    finished_early: bool
    best_when_packed: tuple[dict, dict[str, np.ndarray]]
    best_when_unpacked: tuple[dict, dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    def carry(action: str, workdir) -> None:
        result = tool("training_state", action, f"--workdir={workdir}", f"--file={packed}")
        assert result.returncode == 0, result.stderr

    folder = tmp_path_factory.mktemp("story")
    here, elsewhere, packed = folder / "run", folder / "elsewhere" / "run", folder / "state.zip"
    killed = interrupt(here, signal.SIGKILL, 7)
    # After the first validation, so that there are best weights and a history to carry too.
    terminated = interrupt(here, signal.SIGTERM, 28)
    assert (here / "best" / "best.json").exists(), (terminated, sorted(here.rglob("*")))
    when_packed = json.loads((here / "best" / "best.json").read_text()), weights_of(here)
    carry("pack", here)
    shutil.rmtree(here)
    carry("unpack", elsewhere)
    when_unpacked = json.loads((elsewhere / "best" / "best.json").read_text()), weights_of(elsewhere)
    interrupted = interrupt(elsewhere, signal.SIGINT, 56)
    finished_early = (elsewhere / "summary.json").exists()
    assert run("train", *FLAGS, f"--workdir={elsewhere}").returncode == 0
    signalled = {signal.SIGTERM: terminated, signal.SIGINT: interrupted}
    return Story(elsewhere, killed, signalled, finished_early, when_packed, when_unpacked)


def test_killed_ended_by_signals_carried_elsewhere_and_resumed_equals_uninterrupted(uninterrupted, story):
    assert story.killed.returncode == -signal.SIGKILL
    assert same(checkpoint_of(story.workdir), checkpoint_of(uninterrupted))
    assert same(weights_of(story.workdir), weights_of(uninterrupted))
    assert (story.workdir / "history.jsonl").read_text() == (uninterrupted / "history.jsonl").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_exits_cleanly(number, story):
    result = story.signalled[number]
    assert result.returncode == 0, result.stderr
    assert "the same command continues" in result.stdout
    assert signal.Signals(number).name in result.stdout
    assert not story.finished_early


def test_a_state_that_was_packed_has_its_best_weights_where_it_is_unpacked(story):
    (packed, weights), (unpacked, found) = story.best_when_packed, story.best_when_unpacked
    assert (unpacked["step"], unpacked["nll_bound_nats"]) == (25, packed["nll_bound_nats"])
    # Without what else Keras writes beside the weights of the layers.
    assert found and same(found, {name: weights[name] for name in found})


def test_a_finished_run_may_be_continued_for_more_steps(uninterrupted):
    before = checkpoint_of(uninterrupted)
    result = run("train", *FLAGS, f"--workdir={uninterrupted}")
    assert result.returncode == 0
    assert "trained 100 steps" in result.stdout
    assert same(before, checkpoint_of(uninterrupted))


@pytest.mark.exhaustive
def test_soap_goes_on_in_the_bases_that_it_had(tmp_path):
    flags = [
        *TINY,
        "--latent_channels=",
        "--kl_warmup_steps=",
        "--deterministic",
        "--optimizer=soap",
        "--validation_every=50",
        "--checkpoint_every=7",
        "--steps=14",
    ]
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    assert run("train", *flags, f"--workdir={whole}").returncode == 0
    # As if it had been killed after step 7.
    shutil.copytree(whole, resumed)
    for path in (resumed / "checkpoints").glob("ckpt-14.*"):
        path.unlink()
    (resumed / "checkpoints" / "checkpoint").write_text('model_checkpoint_path: "ckpt-7"\n')
    assert not same(checkpoint_of(whole), checkpoint_of(resumed))
    assert run("train", *flags, f"--workdir={resumed}").returncode == 0
    square = [value for value in checkpoint_of(whole).values() if value.ndim == 2 and len(set(value.shape)) == 1]
    turned = [value for value in square if np.allclose(value @ value.T, np.eye(len(value)), atol=1e-4)]
    assert max(np.abs(value - np.eye(len(value))).max() for value in turned) > 0.1
    assert same(checkpoint_of(whole), checkpoint_of(resumed))


def test_a_truncated_checkpoint_is_named_and_the_one_before_it_leads_to_the_same_end(uninterrupted, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(uninterrupted, workdir)
    shard = workdir / "checkpoints" / "ckpt-100.data-00000-of-00001"
    shard.write_bytes(shard.read_bytes()[: os.path.getsize(shard) // 2])
    (workdir / "checkpoints" / "checkpoint").unlink()
    result = run("train", *FLAGS, f"--workdir={workdir}")
    assert result.returncode == 0, result.stderr
    assert "ckpt-100: this checkpoint is damaged" in result.stdout
    assert "goes on from step 98" in result.stdout
    assert same(checkpoint_of(workdir), checkpoint_of(uninterrupted))
    assert (workdir / "history.jsonl").read_text() == (uninterrupted / "history.jsonl").read_text()


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path):
    workdir = tmp_path / "run"
    flags = [
        *TINY,
        "--steps=50",
        "--checkpoint_every=1",
        "--validation_every=50",
        "--gradient_clip_value=0",
        "--learning_rate=1e30",
    ]
    line = error_line(run("train", *flags, f"--workdir={workdir}"))
    assert "learning_rate" in line
    for value in checkpoint_of(workdir).values():
        assert np.all(np.isfinite(value))
