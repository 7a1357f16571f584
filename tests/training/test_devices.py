"""Clusters, and batches that devices cannot share: found or refused before a run begins."""

import json

import pytest
from commands import TINY, error_line, run
from workers import configuration

from pixelvae_tf import TrainConfig
from pixelvae_tf.config import ConfigError
from pixelvae_tf.training.cluster import VARIABLE, ClusterError, cluster_of
from pixelvae_tf.training.devices import create_devices

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
