"""Interrupted training ends where training left alone ends, bit for bit."""

import json
import os
import shutil
import signal
import subprocess
import time

import h5py
import numpy as np
import pytest
from commands import TINY, arguments, environment, error_line, run, tool
from workdirs import checkpoint_of

FLAGS = [
    *TINY,
    "--deterministic",
    "--ema_decay=0.9",
    "--dropout=0.2",
    "--steps=90",
    "--validation_every=45",
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
    process = subprocess.Popen(
        arguments("train", *FLAGS, f"--workdir={workdir}"),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    checkpoints = workdir / "checkpoints"
    deadline = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < deadline:
        steps = [int(path.stem.split("-")[1]) for path in checkpoints.glob("ckpt-*.index")]
        if max(steps, default=0) >= after_step:
            process.send_signal(number)
            break
        time.sleep(0.005)
    output, errors = process.communicate(timeout=100)
    return subprocess.CompletedProcess([], process.returncode, output, errors)


def test_killed_twice_and_resumed_equals_uninterrupted(uninterrupted, tmp_path):
    workdir = tmp_path / "run"
    for after_step in (7, 28):
        assert interrupt(workdir, signal.SIGKILL, after_step).returncode == -signal.SIGKILL
    assert run("train", *FLAGS, f"--workdir={workdir}").returncode == 0
    assert same(checkpoint_of(workdir), checkpoint_of(uninterrupted))
    assert same(weights_of(workdir), weights_of(uninterrupted))
    assert (workdir / "history.jsonl").read_text() == (uninterrupted / "history.jsonl").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_exits_cleanly_and_the_run_continues(number, uninterrupted, tmp_path):
    workdir = tmp_path / "run"
    result = interrupt(workdir, number, 14)
    assert result.returncode == 0, result.stderr
    assert "the same command continues" in result.stdout
    assert signal.Signals(number).name in result.stdout
    assert not (workdir / "summary.json").exists()
    assert run("train", *FLAGS, f"--workdir={workdir}").returncode == 0
    assert same(checkpoint_of(workdir), checkpoint_of(uninterrupted))


def test_a_state_that_was_packed_and_unpacked_elsewhere_goes_on_to_the_same_end(uninterrupted, tmp_path):
    def carry(action: str, workdir) -> None:
        result = tool("training_state", action, f"--workdir={workdir}", f"--file={packed}")
        assert result.returncode == 0, result.stderr

    here, elsewhere, packed = tmp_path / "run", tmp_path / "elsewhere" / "run", tmp_path / "state.zip"
    # After the first validation, so that there are best weights and a history to carry too.
    assert interrupt(here, signal.SIGTERM, 49).returncode == 0
    carry("pack", here)
    shutil.rmtree(here)
    carry("unpack", elsewhere)
    best = json.loads((elsewhere / "best" / "best.json").read_text())
    assert best["step"] == 45
    assert run("evaluate", f"--workdir={elsewhere}", "--max_examples=9").returncode == 0
    assert run("train", *FLAGS, f"--workdir={elsewhere}").returncode == 0
    assert same(checkpoint_of(elsewhere), checkpoint_of(uninterrupted))
    assert same(weights_of(elsewhere), weights_of(uninterrupted))
    assert (elsewhere / "history.jsonl").read_text() == (uninterrupted / "history.jsonl").read_text()


def test_a_finished_run_may_be_continued_for_more_steps(uninterrupted):
    before = checkpoint_of(uninterrupted)
    result = run("train", *FLAGS, f"--workdir={uninterrupted}")
    assert result.returncode == 0
    assert "trained 90 steps" in result.stdout
    assert same(before, checkpoint_of(uninterrupted))


def test_soap_goes_on_in_the_bases_that_it_had(tmp_path):
    flags = [*TINY, "--deterministic", "--optimizer=soap", "--validation_every=50"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for workdir, steps in ((whole, 14), (parts, 7), (parts, 14)):
        result = run("train", *flags, f"--steps={steps}", f"--workdir={workdir}")
        assert result.returncode == 0, result.stderr
    square = [value for value in checkpoint_of(whole).values() if value.ndim == 2 and len(set(value.shape)) == 1]
    turned = [value for value in square if np.allclose(value @ value.T, np.eye(len(value)), atol=1e-4)]
    assert max(np.abs(value - np.eye(len(value))).max() for value in turned) > 0.1
    assert same(checkpoint_of(whole), checkpoint_of(parts))


def test_a_truncated_checkpoint_is_named_and_left_alone(tmp_path):
    workdir = tmp_path / "run"
    flags = [*TINY, "--steps=4", "--checkpoint_every=2", "--validation_every=2"]
    assert run("train", *flags, f"--workdir={workdir}").returncode == 0
    shard = workdir / "checkpoints" / "ckpt-4.data-00000-of-00001"
    shard.write_bytes(shard.read_bytes()[: os.path.getsize(shard) // 2])
    more = [flag for flag in flags if "--steps" not in flag] + ["--steps=6"]
    line = error_line(run("train", *more, f"--workdir={workdir}"))
    assert "ckpt-4" in line
    assert "damaged" in line
    assert (workdir / "checkpoints" / "ckpt-2.index").exists()


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
