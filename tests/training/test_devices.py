"""Several replicas and several workers do what one device does, and stop together."""

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
from commands import ROOT, TINY, Forked, error_line, run, start, start_script
from replicas import BATCH_SIZE, CASES, OF_WORKERS
from workdirs import checkpoint_of

from pixelvae_tf import TrainConfig
from pixelvae_tf.config import ConfigError
from pixelvae_tf.training.cluster import VARIABLE, Cluster, ClusterError, cluster_of
from pixelvae_tf.training.devices import Devices, create_devices

REPLICAS = ROOT / "tests" / "replicas.py"


def configuration(index: int, *addresses: str, kind: str = "worker") -> str:
    return json.dumps({"cluster": {"worker": list(addresses)}, "task": {"type": kind, "index": index}})


def two_addresses() -> list[str]:
    """Two ports of this machine that nobody listens to."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for one in sockets:
            one.bind(("localhost", 0))
        return [f"localhost:{one.getsockname()[1]}" for one in sockets]


def start_workers(begin, *arguments: list) -> list[Forked]:
    """Starts a process for each list of arguments by `begin`, all of them workers of one cluster."""
    addresses = two_addresses()
    return [begin(*own, **{VARIABLE: configuration(index, *addresses)}) for index, own in enumerate(arguments)]


def ended(processes: list[Forked], timeout: float = 600) -> list[subprocess.CompletedProcess]:
    """What the processes wrote, once all of them have ended; none outlives this."""
    with contextlib.ExitStack() as stack:
        for process in processes:
            stack.callback(process.kill)
        return [process.ended(timeout) for process in processes]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """The files that three processes made: one with one device and with two replicas, and two workers."""
    folder = tmp_path_factory.mktemp("replicas")
    files = [folder / name for name in ("mirrored.npz", "worker0.npz", "worker1.npz")]
    mirrored = start_script(REPLICAS, "mirrored", str(files[0]))
    workers = start_workers(start_script, *([REPLICAS, "multi_worker", str(path)] for path in files[1:]))
    for result in ended([mirrored, *workers]):
        assert result.returncode == 0, result.stderr
    return [np.load(path) for path in files]


def pairs(outputs, case: str) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Every result of a case on one device beside that on two replicas, of one process and of two."""
    found = []
    for output in outputs if case in (*OF_WORKERS, "validation") else outputs[:1]:
        names = [name for name in output if name.startswith(f"several/{case}/")]
        assert names
        found += [(name, outputs[0][name.replace("several", "one")], output[name]) for name in names]
    return found


@pytest.mark.parametrize("case", [case for case in CASES if case not in ("SOAP", "bfloat16")])
def test_two_replicas_and_two_workers_train_what_one_device_trains(case, outputs):
    """Weights, their averages, moving statistics, and the reports of all steps, with latents and their noise."""
    for name, one, several in pairs(outputs, case):
        if name.endswith("dtypes"):
            assert list(several) == ["float32"]
        elif name.endswith("copies"):
            assert (several == several[0]).all()
        elif name.endswith("losses"):
            np.testing.assert_allclose(several, one, rtol=1e-5, err_msg=name)
        else:
            np.testing.assert_allclose(several, one, rtol=0, atol=1e-5, err_msg=name)
    one = {key: outputs[0][f"one/{case}/{key}"] for key in ("start", "weights", "losses", "averages")}
    # What is compared has moved far more than that, and every step was clipped.
    assert np.abs(one["weights"] - one["start"]).max() > 1e-3
    assert one["losses"][:, 2].min() > 5.0
    assert ("Adam" in case) == bool(one["averages"].size)
    assert (CASES[case][0].network == "residual") == bool(outputs[0][f"one/{case}/statistics"].size)


def test_soap_keeps_the_replicas_alike_and_trains_much_as_one_device_does(outputs):
    """Not to the last digits: where the gradients so far say nothing of a direction, rounding chooses the basis."""
    one, several = (
        {key: outputs[0][f"{part}/SOAP/{key}"] for key in ("weights", "losses", "copies", "start")}
        for part in ("one", "several")
    )
    assert several["copies"].shape == (2, one["weights"].size)
    np.testing.assert_array_equal(several["copies"][1], several["copies"][0])
    np.testing.assert_allclose(several["losses"][:, 0], one["losses"][:, 0], rtol=1e-3)
    assert np.abs(several["weights"] - several["start"]).max() > 2e-3


def test_bfloat16_trains_with_float32_losses_and_weights_on_one_device_and_on_two(outputs):
    case = {
        part: {key: outputs[0][f"{part}/bfloat16/{key}"] for key in ("weights", "losses", "dtypes", "start")}
        for part in ("one", "several")
    }
    precise = outputs[0]["one/SGD, clipped by norm/losses"]
    for found in case.values():
        assert list(found["dtypes"]) == ["float32"]
        # Near what float32 finds, and finer than bfloat16 could tell.
        np.testing.assert_allclose(found["losses"][:, 0], precise[:, 0], rtol=3e-3)
        assert np.any(found["losses"].astype("float32").view("uint32") & 0xFFFF)
    assert np.any(case["one"]["losses"] != precise)
    moved = np.abs(case["one"]["weights"] - case["one"]["start"]).max()
    np.testing.assert_allclose(case["several"]["weights"], case["one"]["weights"], rtol=0, atol=0.02 * moved)


def test_validation_over_replicas_is_the_mean_over_images_that_one_device_finds(outputs):
    """Also where the last batch is short, and where a replica has none of it."""
    found = pairs(outputs, "validation")
    assert len(found) == 6
    for name, one, several in found:
        np.testing.assert_allclose(several, one, rtol=1e-5, err_msg=name)


def test_a_batch_that_does_not_divide_over_the_replicas_is_refused_as_the_step_runs(outputs):
    assert np.isfinite(outputs[0]["several/sizes/even"]).all()
    assert "a batch does not divide over 2 replicas; use .batch" in str(outputs[0]["several/sizes/uneven"])


@pytest.mark.parametrize("name", ["images", "noise_z1", "noise_z2"])
def test_every_replica_has_rows_of_its_own_of_one_global_batch_and_its_noise(name, outputs):
    one = outputs[0][f"one/seen/{name}"]
    np.testing.assert_array_equal(outputs[0][f"several/seen/{name}"], one)
    rows = -2 if name == "noise_z2" else -4
    parts = [output[f"several/seen/{name}"] for output in outputs[1:]]
    assert parts[0].shape[rows] == BATCH_SIZE // 2
    np.testing.assert_array_equal(np.concatenate(parts, axis=one.ndim + rows), one)
    # No two rows are alike, so that no replica draws or reads what another does.
    first = one if name != "images" else one[0]
    assert len(np.unique(first.reshape(BATCH_SIZE, -1), axis=0)) == BATCH_SIZE


# The command line. Not a first kernel of 3, for the reason that tests/replicas.py gives.
FLAGS = [
    *(flag for flag in TINY if "first_kernel" not in flag),
    "--first_kernel_size=5",
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
def story(tmp_path_factory):
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


CONFIGURATIONS = {
    "no JSON": ("{'cluster': {}}", "not JSON"),
    "no object": ("[1]", "no cluster"),
    "no cluster": (json.dumps({"task": {"type": "worker", "index": 0}}), "no cluster"),
    "no task": (json.dumps({"cluster": {"worker": ["a:1", "b:1"]}}), "no task"),
    "no such worker": (configuration(2, "a:1", "b:1"), "worker 2"),
    "a negative worker": (configuration(-1, "a:1", "b:1"), "worker -1"),
    "a worker that is no number": (configuration("0", "a:1", "b:1"), "worker 0"),
    "no such job": (configuration(0, "a:1", "b:1", kind="chief"), "chief 0"),
    "no address": (configuration(0, "a:1", "b"), "'b'"),
    "an address twice": (configuration(0, "a:1", "a:1"), "twice"),
    "a parameter server": (json.dumps({"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}), "'ps'"),
}


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_a_wrong_cluster_is_refused_with_what_is_wrong(case, monkeypatch):
    text, expected = CONFIGURATIONS[case]
    monkeypatch.setenv(VARIABLE, text)
    for strategy in ("auto", "multi_worker"):
        with pytest.raises(ClusterError, match=VARIABLE) as caught:
            cluster_of(TrainConfig(strategy=strategy))
        assert expected in str(caught.value)
        assert "\n" not in str(caught.value)
    # Who asks for this machine alone is not bothered.
    assert cluster_of(TrainConfig(strategy="one_device")).size == 1


def test_a_chief_comes_before_the_workers(monkeypatch):
    jobs = {"worker": ["b:1", "c:1"], "chief": ["a:1"]}
    found = {}
    for kind, index in (("chief", 0), ("worker", 0), ("worker", 1)):
        monkeypatch.setenv(VARIABLE, json.dumps({"cluster": jobs, "task": {"type": kind, "index": index}}))
        found[kind, index] = cluster_of(TrainConfig())
    assert [cluster.index for cluster in found.values()] == [0, 1, 2]
    assert [cluster.is_chief for cluster in found.values()] == [True, False, False]
    assert {cluster.addresses for cluster in found.values()} == {("a:1", "b:1", "c:1")}


def test_several_workers_need_a_cluster(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(ClusterError, match="not set"):
        cluster_of(TrainConfig(strategy="multi_worker"))
    assert cluster_of(TrainConfig(strategy="auto")).size == 1


BATCHES = {
    "fewer images than replicas": (2, 3, "", ["batch_size=2", "fewer", "3 replicas", "multiple of 3"]),
    "a remainder": (32, 3, "", ["batch_size=32", "3 replicas", "multiple of 3, such as 30"]),
    "fewer images than workers": (1, 0, configuration(0, "a:1", "b:1"), ["batch_size=1", "fewer", "2 workers"]),
    "a remainder over workers": (5, 0, configuration(0, "a:1", "b:1"), ["batch_size=5", "2 workers", "such as 4"]),
}


@pytest.mark.parametrize("case", BATCHES)
def test_a_batch_that_the_replicas_cannot_share_is_refused_before_they_are_made(case, monkeypatch):
    batch_size, cpus, cluster, expected = BATCHES[case]
    monkeypatch.setenv(VARIABLE, cluster)
    # The tests' own process has no use for a GPU either.
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda kind=None: [])
    strategy = "mirrored" if cpus else "auto"
    with pytest.raises(ConfigError) as caught:
        create_devices(TrainConfig(strategy=strategy, cpu_devices=cpus, batch_size=batch_size))
    for part in expected:
        assert part in str(caught.value)


WRONG = {
    "more replicas than images in a batch": (
        ["--batch_size=2", "--strategy=mirrored", "--cpu_devices=3"],
        "",
        ["batch_size=2", "3 replicas"],
    ),
    "a TF_CONFIG that is not JSON": ([], "{", ["TF_CONFIG", "not JSON"]),
    "a TF_CONFIG without this worker": ([], configuration(5, "a:1", "b:1"), ["TF_CONFIG", "worker 5"]),
    "no TF_CONFIG": (["--strategy=multi_worker"], "", ["TF_CONFIG", "not set"]),
    "a divided CPU without need": (["--cpu_devices=2"], "", ["cpu_devices", "mirrored"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_ends_with_one_line_and_writes_nothing(case, tmp_path):
    flags, cluster, expected = WRONG[case]
    line = error_line(run("train", *TINY, *flags, "--workdir=run", cwd=tmp_path, **{VARIABLE: cluster}))
    for part in expected:
        assert part in line
    assert not list(tmp_path.iterdir())


def test_workers_with_different_flags_refuse_to_train_together(tmp_path):
    processes = start_workers(
        start,
        *(
            ["train", *TINY, "--steps=3", f"--learning_rate={rate}", f"--workdir={tmp_path / 'run'}"]
            for rate in ("0.001", "0.002")
        ),
    )
    chief, other = (error_line(result) for result in ended(processes))
    assert "learning_rate is 0.002 on this worker and 0.001 on the chief" in other
    assert "worker 1" in chief
