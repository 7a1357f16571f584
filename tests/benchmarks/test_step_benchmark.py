"""The benchmarks of the training step: what they compare is the same function, and what they count is right."""

import dataclasses
import functools
import json

import numpy as np
import pytest
from commands import ROOT
from small_runs import NETWORKS, SMALLEST, TRAINING, run_of

from pixelvae_tf.benchmarks import profile, requests
from pixelvae_tf.benchmarks import step as steps
from pixelvae_tf.benchmarks.step import TrainingStep, Variant
from pixelvae_tf.config import ConfigError
from pixelvae_tf.errors import UserError

OURS = Variant("ours", "elementwise", "float32", "stored", 8)
PLAIN = OURS._replace(implementation="straightforward", xla="none")


@functools.cache
def taken(network: str, variant: Variant) -> TrainingStep:
    """A dozen steps."""
    step = TrainingStep(run_of(network), variant)
    step.take(10)
    return step


def losses(network: str, variant: Variant) -> list[float]:
    return [float(loss) for loss in taken(network, variant).losses]


# What XLA compiles are gates.
@pytest.mark.parametrize(
    "network",
    [
        pytest.param(name, marks=pytest.mark.as_in_production if "gated" in name else pytest.mark.exhaustive)
        for name in NETWORKS
    ],
)
def test_the_straightforward_step_is_the_same_mathematics(network):
    expected = losses(network, OURS)
    assert expected[-1] < 0.99 * expected[0]
    np.testing.assert_allclose(losses(network, PLAIN), expected, rtol=1e-4)


@pytest.mark.as_in_production
@pytest.mark.parametrize("changes", [{"xla": "none"}, {"activations": "recomputed"}], ids=["no XLA", "recomputed"])
def test_the_step_is_the_same_however_it_is_computed(changes):
    found, expected = losses("bias, gated", OURS._replace(**changes)), losses("bias, gated", OURS)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.as_in_production
def test_a_step_that_xla_compiles_whole_is_the_same_where_there_is_no_noise():
    # XLA draws other noise for latents from the same seed.
    network, whole = "the least without noise", OURS._replace(xla="all")
    np.testing.assert_allclose(losses(network, whole), losses(network, OURS), rtol=1e-4)
    # Its graph is a call of what XLA compiles, and does not show the tensors inside.
    assert steps.memory_record(taken(network, whole))["calculated_memory_mib"] is None
    assert steps.memory_record(taken(network, OURS))["calculated_memory_mib"] is not None


def comparable(path) -> list[dict]:
    """The rows of a record of `tools/benchmark.py step` whose losses are the same."""
    rows = json.loads(path.read_text())["rows"]
    return [row for row in rows if row["precision"] == "float32" and row["xla"] != "all"]


# Not those of LSTMs, which have no straightforward version.
COMPARED = {
    path.stem: rows
    for path, rows in ((path, comparable(path)) for path in sorted((ROOT / "results").glob("benchmark_step_*.json")))
    if len({row["implementation"] for row in rows}) > 1
}


def test_a_record_compares_implementations():
    assert "benchmark_step_mnist" in COMPARED


@pytest.mark.parametrize("name", COMPARED)
def test_losses_on_record_are_the_same_for_every_implementation(name):
    rows = COMPARED[name]
    assert {row["implementation"] for row in rows} == {"ours", "straightforward"}
    for row in rows:
        found, expected = row["losses_nats"], rows[0]["losses_nats"]
        assert len(found) >= 20
        # Training amplifies rounding errors from step to step.
        np.testing.assert_allclose(found[:12], expected[:12], rtol=1e-5)
        np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.as_in_production
def test_each_variant_is_traced_as_it_says():
    ours, uncompiled, plain = (
        taken("bias, gated", variant).graph for variant in (OURS, OURS._replace(xla="none"), PLAIN)
    )
    assert "_gate_gradient" in str(ours.as_graph_def())
    assert "_gate_gradient" not in str(uncompiled.as_graph_def())
    # A vertical kernel of type B, of which two rows are visible.
    whole, visible = (3, 3, 8, 16), (2, 3, 8, 16)
    for graph, present, absent in ((plain, whole, visible), (ours, visible, whole)):
        kernels = {tuple(op.inputs[1].shape) for op in graph.get_operations() if op.type == "Conv2D"}
        assert present in kernels and absent not in kernels


def test_events_inside_others_count_by_themselves():
    events = [(0, 100, "outer"), (10, 30, "inner"), (15, 5, "innermost"), (50, 20, "inner"), (100, 7, "outer")]
    assert profile.own_times(events) == {"outer": 50 + 7, "inner": 25 + 20, "innermost": 5}


@pytest.mark.as_in_production
def test_every_part_of_a_step_has_its_time():
    request = requests.Profile(
        run=run_of(pixelcnn_layers=1, weight_normalization=True), implementation=("ours", "straightforward"), repeats=2
    )
    rows = list(profile.measure(request))
    for row in rows:
        assert row["ms"] == pytest.approx(sum(row["parts"].values()), abs=0.1)
        # Unlike the straightforward one, ours pads its own way.
        of_padding = row["parts"].pop("padding, and cutting off its gradient")
        assert (of_padding > 0) == (row["implementation"] == "ours")
        assert all(value > 0 for value in row["parts"].values()), row["parts"]


def test_variants_are_all_combinations_without_what_comes_twice():
    request = requests.Step(
        run=run_of(), implementation=("ours", "straightforward"), xla=("none", "elementwise"), batch_sizes=(2, 4)
    )
    found = steps.variants(request)
    assert len(found) == len(set(found)) == 2 * (2 + 1)
    assert {each.precision for each in found} == {"float32"}
    bfloat16 = dataclasses.replace(TRAINING, mixed_precision="bfloat16", recompute_blocks=True)
    run = dataclasses.replace(run_of(), training=bfloat16)
    assert steps.variant_of(run) == Variant("ours", "elementwise", "bfloat16", "recomputed", 8)
    compiled = dataclasses.replace(TRAINING, compile_step=True)
    assert steps.variant_of(dataclasses.replace(run, training=compiled)).xla == "all"


def test_a_step_record_adds_up():
    run = run_of(**SMALLEST)
    request = requests.Step(run=run, batch_sizes=(2, 4), repeats=2, steps_a_repeat=3)
    rows = list(steps.measure(request))
    assert [row["batch_size"] for row in rows] == [2, 4]
    for row in rows:
        assert 0 < row["ms_lowest"] <= row["ms"] <= row["ms_highest"]
        assert row["images_per_second"] == pytest.approx(1e3 * row["batch_size"] / row["ms"], rel=0.05)
        assert len(row["losses_nats"]) == 2 + 2 * 3
        assert 0 <= row["memory_before_mib"] <= row["peak_memory_mib"]
        assert row["calculated_memory_mib"] >= 0
    assert "of the matrix rate" in steps.table(rows)


def test_a_batch_that_does_not_fit_is_refused_before_it_is_computed():
    with pytest.raises(UserError, match="batch_size=1000000000: a step takes .* GB, and .* GB are free; use a"):
        TrainingStep(run_of(), OURS._replace(batch_size=10**9))


def test_what_is_straightforward_needs_masked_stacks():
    run = run_of(pixelcnn_layers=0, conditioning="maps")
    with pytest.raises(ConfigError, match="masked stacks"):
        TrainingStep(run, OURS._replace(implementation="straightforward"))
