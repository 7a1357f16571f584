"""Runs on several workers: killed, ended by signals, continued on other devices, and refused."""

import contextlib
import json
import pathlib
import signal
import socket
import subprocess
import threading
import time
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from commands import TINY, Forked, error_line, run, start
from workdirs import checkpoint_of
from workers import ended, start_workers, two_addresses

from pixelvae_tf.training.cluster import Cluster
from pixelvae_tf.training.devices import Devices

# Not a first kernel of 3: one weight has no direction, and Adam would blow up the rounding errors of its gradient.
FLAGS = [
    *(flag for flag in TINY if "first_kernel" not in flag),
    "--first_kernel_size=5",
    "--latent_channels=",
    "--kl_warmup_steps=",
    "--ema_decay=0.9",
    "--checkpoint_every=4",
    "--validation_every=1000000",
]


def last_step(workdir) -> int:
    found = (workdir / "checkpoints").glob("ckpt-*.index")
    return max((int(path.stem.split("-")[1]) for path in found), default=0)


def trained_state(workdir) -> dict[str, np.ndarray]:
    """The last checkpoint but for the sums that a validation leaves behind, which are no state of training."""
    return {name: value for name, value in checkpoint_of(workdir).items() if "metric" not in name}


def train_on_two_workers(workdir, steps: int) -> list[Forked]:
    return start_workers(start, *[["train", *FLAGS, f"--steps={steps}", f"--workdir={workdir}"]] * 2)


def train_on_two_workers_until(number: int, workdir) -> tuple[list[subprocess.CompletedProcess], float]:
    """Sends worker 1 a signal after a new checkpoint; what both wrote, and the seconds until both had ended."""
    before, processes = last_step(workdir), train_on_two_workers(workdir, 1_000_000)
    deadline = time.monotonic() + 200
    while last_step(workdir) == before and time.monotonic() < deadline and processes[0].poll() is None:
        time.sleep(0.01)
    processes[1].send_signal(number)
    sent = time.monotonic()
    return ended(processes, 100), time.monotonic() - sent


class Story(NamedTuple):
    """A run on two workers of which one is killed, continued and ended by SIGTERM, beside one device's run."""

    workdir: pathlib.Path
    one_device: pathlib.Path
    killed: list[subprocess.CompletedProcess]
    killed_at: int
    seconds_to_end: float
    terminated: list[subprocess.CompletedProcess]
    terminated_at: int
    same_at_that_step: bool
    """Whether both runs had the same state at the step of SIGTERM, to rounding."""


@pytest.fixture(scope="module")
def differing(tmp_path_factory):
    """Two workers with different flags. The second one waits for seconds in case the file that it reads is old."""
    workdir = tmp_path_factory.mktemp("differing") / "run"
    commands = [
        ["train", *TINY, "--steps=3", f"--learning_rate={rate}", f"--workdir={workdir}"] for rate in ("0.001", "0.002")
    ]
    return start_workers(start, *commands)


@pytest.fixture(scope="module")
def story(tmp_path_factory, differing):
    workdir, one_device = (tmp_path_factory.mktemp(name) / "run" for name in ("two", "one"))
    killed, seconds = train_on_two_workers_until(signal.SIGKILL, workdir)
    killed_at = last_step(workdir)
    terminated, _ = train_on_two_workers_until(signal.SIGTERM, workdir)
    terminated_at = last_step(workdir)
    result = run("train", *FLAGS, f"--steps={terminated_at}", f"--workdir={one_device}")
    assert result.returncode == 0, result.stderr
    alike = nearly_same(trained_state(workdir), trained_state(one_device))
    return Story(workdir, one_device, killed, killed_at, seconds, terminated, terminated_at, alike)


def nearly_same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(
        np.allclose(first[name], second[name], rtol=1e-4, atol=1e-5) for name in first
    )


def test_a_killed_worker_ends_the_other_within_half_a_minute_and_with_one_line(story):
    assert story.killed[1].returncode == -signal.SIGKILL
    assert "lost worker 1 (localhost:" in error_line(story.killed[0])
    assert story.seconds_to_end < 30
    assert story.killed_at > 0


def test_a_signal_to_one_worker_saves_and_ends_both_after_the_same_step(story):
    for result in story.terminated:
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
    assert f"saved at step {story.terminated_at} on a signal to another worker" in story.terminated[0].stdout


def test_killed_and_continued_and_ended_by_a_signal_two_workers_are_where_one_device_is(story):
    assert story.terminated_at > story.killed_at
    assert story.same_at_that_step


def test_a_run_continues_on_other_devices_than_it_began_with(story):
    """One of two workers to its end, and one of one device on two replicas."""
    steps = story.terminated_at + 3
    chief, other = ended(train_on_two_workers(story.workdir, steps))
    alone = run(
        "train", *FLAGS, "--strategy=mirrored", "--cpu_devices=2", f"--steps={steps}", f"--workdir={story.one_device}"
    )
    for result in (chief, other, alone):
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
    assert nearly_same(trained_state(story.workdir), trained_state(story.one_device))
    # The chief alone speaks and records.
    assert f"trained {steps} steps" in chief.stdout
    assert "step" not in other.stdout
    for workdir, workers in ((story.workdir, 2), (story.one_device, 1)):
        summary = json.loads((workdir / "summary.json").read_text())
        assert (summary["workers"], summary["replicas"]) == (workers, 2)
    assert len((story.workdir / "history.jsonl").read_text().splitlines()) == 1
    assert len(list((story.workdir / "train").iterdir())) == 3


def test_at_the_end_the_chief_may_lose_a_worker_that_left_before_it_was_heard(monkeypatch):
    def lost(self, value):
        raise tf.errors.UnavailableError(None, None, "connection reset")

    monkeypatch.setattr(Devices, "gather", lost)
    addresses = tuple(two_addresses())
    for index, at_the_end, is_lost in ((0, True, False), (1, True, True), (0, False, True)):
        devices = Devices(tf.distribute.get_strategy(), Cluster(addresses, index))
        expected = pytest.raises(tf.errors.UnavailableError) if is_lost else contextlib.nullcontext()
        with expected, devices.all_or_none(at_the_end):
            pass


def test_the_chief_leaves_when_no_other_worker_takes_connections():
    with socket.create_server(("localhost", 0)) as other:
        cluster = Cluster(("localhost:1", f"localhost:{other.getsockname()[1]}"))
        assert cluster.unreachable() == []
        closing = threading.Timer(0.2, other.close)
        closing.start()
        cluster.wait_until_alone(seconds=60.0)
        assert len(cluster.unreachable()) == 1
        closing.join()


def test_workers_with_different_flags_refuse_to_train_together(differing):
    chief, other = (error_line(result) for result in ended(differing))
    assert "learning_rate is 0.002 on this worker and 0.001 on the chief" in other
    assert "worker 1" in chief
