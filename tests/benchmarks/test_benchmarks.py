"""The benchmarks: what they compare is the same function, and what they count is right."""

import dataclasses
import functools
import json
import time

import numpy as np
import pytest
import tensorflow as tf
import tiny
from commands import ROOT, error_line, tool

from pixelvae_tf.benchmarks import convergence, evaluate, outputs, profile, requests, sample, scaling, size, timing
from pixelvae_tf.benchmarks import step as steps
from pixelvae_tf.benchmarks.step import TrainingStep, Variant
from pixelvae_tf.config import ConfigError, DataConfig, RunConfig, TrainConfig
from pixelvae_tf.errors import UserError
from pixelvae_tf.training.run import build_model

TRAINING = TrainConfig(batch_size=8, learning_rate=1e-2, kl_warmup_steps=(5,), mixed_precision="float32")
OURS = Variant("ours", "elementwise", "float32", "stored", 8)
PLAIN = OURS._replace(implementation="straightforward", xla="none")
# Biases and maps, gates and ReLUs, and colors in order.
NETWORKS = {
    "bias, gated": (tiny.BINARY, {}),
    "maps, relu, color": (tiny.COLOR, {"conditioning": "maps", "activation": "relu"}),
    "no latents, without weight normalization": (tiny.COLOR, {"latent_channels": (), "weight_normalization": False}),
    "the least without noise": (tiny.LEAST, {"latent_channels": ()}),
}


# Not the tiny models' 3: a kernel of one weight has no direction, and Adam blows up its gradient's rounding errors.
KERNEL = {"first_kernel_size": 5}
# For what is counted and timed, not compared.
SMALLEST = {"pixelcnn_layers": 1, "output_layers": 0, "weight_normalization": False}
DIGITS = {"image_shape": (8, 8, 1), "pixel_levels": 17, **SMALLEST}


def run_of(network: str = "bias, gated", **changes) -> RunConfig:
    config, own = NETWORKS[network]
    return RunConfig(dataclasses.replace(config, **KERNEL, **own, **changes), training=TRAINING)


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


def test_two_steps_are_taken_and_the_bound_of_a_batch_comes_out():
    found = size.measured(lambda: build_model(run_of(**SMALLEST)), batch_size=2)
    assert found["batch_size"] == 2
    assert found["losses_nats"][0] != found["losses_nats"][1]
    assert np.isfinite(found["bound_bits_per_dim"])


def test_both_implementations_converge_alike_and_seeds_differ():
    run = run_of(**DIGITS)
    training = dataclasses.replace(run.training, steps=12, validation_examples=16, ema_decay=0.5, learning_rate=5e-3)
    request = requests.Convergence(run=RunConfig(run.model, DataConfig(dataset="digits"), training))
    ours, plain, *others = convergence.measure(request)
    assert (ours["implementation"], plain["implementation"]) == ("ours", "straightforward")
    assert ours["seed"] == plain["seed"] == 0 and ours["steps"] == 12
    untrained = 64 * np.log(17)
    assert ours["bound"] < untrained - 5
    # What changes with the seed is far more than what changes with the implementation.
    of_seed = abs(others[0]["bound"] - ours["bound"])
    assert abs(plain["bound"] - ours["bound"]) < 0.05 * of_seed
    title, *lines = convergence.table([ours, plain, *others]).splitlines()
    assert "seed" in title and "validation bound" in title
    for line, row in zip(lines, [ours, plain, *others], strict=True):
        assert line.split()[:4] == [row["implementation"], "adam", "0.005", str(row["seed"])]
        assert f"{row['bound']:.2f}" in line
    assert [row["seed"] for row in others] == [1, 1]


def test_optimizers_are_compared_by_the_loss_that_they_minimise():
    run = run_of(**DIGITS)
    training = dataclasses.replace(run.training, steps=40, validation_examples=16, learning_rate=1e-2)
    run = RunConfig(run.model, DataConfig(dataset="digits"), training)
    asked = {"seeds": (0,), "implementation": ("ours",)}
    adam, soap = convergence.measure(requests.Convergence(run=run, optimizers=("adam", "soap"), **asked))
    assert (adam["optimizer"], soap["optimizer"]) == ("adam", "soap")
    untrained = 64 * np.log(17)
    # The KL has its full weight from step 5 on, so that the loss is the bound of the images of the last steps.
    assert adam["loss"] < untrained - 20 and abs(adam["loss"] - adam["bound"]) < 20
    assert soap["loss"] != adam["loss"] and soap["ms"] > 0


@pytest.mark.exhaustive
def test_precisions_are_compared_from_the_same_weights():
    run = run_of(**DIGITS)
    training = dataclasses.replace(run.training, steps=5, validation_examples=16, learning_rate=1e-3)
    run = RunConfig(run.model, DataConfig(dataset="digits"), training)
    asked = {"seeds": (0,), "implementation": ("ours",), "precision": ("float32", "bfloat16")}
    full, half = convergence.measure(requests.Convergence(run=run, **asked))
    assert (full["precision"], half["precision"]) == ("float32", "bfloat16")
    assert full["loss"] != half["loss"]
    assert abs(full["bound"] - half["bound"]) < 0.05 * full["bound"]
    assert "bfloat16" in convergence.table([full, half])


def test_output_distributions_are_compared_by_bits_time_and_memory():
    run = run_of(**DIGITS, mixture_components=3, latent_channels=())
    training = dataclasses.replace(run.training, steps=20, validation_examples=16)
    request = requests.Outputs(run=RunConfig(run.model, DataConfig(dataset="digits"), training), repeats=2)
    rows = list(outputs.measure(request))
    softmax, logistics = rows
    assert [row["output_distribution"] for row in rows] == ["discrete", "logistics"]
    assert [row["outputs_per_color"] for row in rows] == [17, 9]
    # The last layer of 8 maps: 8 weights and a bias for each number.
    assert softmax["parameters"] - logistics["parameters"] == 9 * (17 - 9)
    untrained = np.log2(17)
    for row in rows:
        assert row["bits_per_dim"] == pytest.approx(row["bound"] / (64 * np.log(2)), rel=1e-3)
        assert row["bits_per_dim"] < untrained - 0.3
    assert softmax["bound"] != logistics["bound"]
    assert f"≤ {logistics['bits_per_dim']:.3f}" in outputs.table(rows)


def test_evaluation_counts_images_times_samples():
    request = requests.Evaluate(run=run_of(**SMALLEST), batch_sizes=(3,), importance_samples=4, repeats=1)
    (row,) = evaluate.measure(request)
    assert row["importance_samples_per_second"] == pytest.approx(1e3 * 3 * 4 / row["importance_ms"], rel=0.05)
    assert row["bound_images_per_second"] == pytest.approx(1e3 * 3 / row["bound_ms"], rel=0.05)
    assert "4 importance samples" in evaluate.table([row])


def test_a_record_of_sampling_scales_the_naive_sampler_and_compares_all_three():
    request = requests.Sample(run=run_of("maps, relu, color"), batch_sizes=(2,), naive_passes=3, calls=1)
    (row,) = sample.measure(request)
    assert row["image_shape"] == [2, 2, 3] and row["batch_size"] == 2
    assert row["naive_scaled_from"] == "3 of 12 passes"
    assert row["cached_first_call_seconds"] > row["cached_seconds"] > 0
    assert row["cached_to_full_pass"] * row["full_pass_seconds"] == pytest.approx(row["cached_seconds"], rel=0.2)
    assert "3 of 12 passes" in sample.table([row])


def test_lstms_are_sampled_in_batches_of_several_sizes():
    run = run_of(latent_channels=(), masked_blocks="row_lstm", kernel_size=3)
    rows = list(sample.measure(requests.Sample(run=run, batch_sizes=(2, 3), naive_passes=1, calls=1)))
    assert [row["batch_size"] for row in rows] == [2, 3]
    # The state of three images and what a full pass of them holds, beside those of two.
    for name in ("state_mib", "full_pass_mib"):
        assert rows[1][name] >= rows[0][name]


def test_scaling_grows_with_the_arithmetic_of_each_number():
    # The first value of each number is the run's own, whose step is made once.
    run = run_of(**SMALLEST | {"image_shape": (2, 2, 1)})
    request = requests.Scaling(run=run, layers=(1, 3), channels=(), batches=(8, 16), sides=(2, 4), repeats=1)
    rows = list(scaling.measure(request))
    assert [(row["number"], row["value"]) for row in rows] == [
        ("layers", 1),
        ("layers", 3),
        ("batches", 8),
        ("batches", 16),
        ("sides", 2),
        ("sides", 4),
    ]
    growth = [row["expected_growth"] for row in rows]
    assert growth[0] == growth[2] == growth[4] == 1.0
    assert growth[1] > 1.5 and growth[3] == 2.0 and growth[5] > 2.0
    assert len(scaling.table(rows).splitlines()) == 1 + len(rows)


WRONG = {
    "a precision": (requests.Step, {"precision": ("float16",)}, "precision=.*float16.*float32, bfloat16"),
    "one precision outside a list": (requests.Step, {"precision": "float32"}, "precision='float32'"),
    "no repeats": (requests.Step, {"repeats": 0}, "repeats=0"),
    "an empty batch": (requests.Step, {"batch_sizes": (4, 0)}, "batch_sizes"),
    "no importance samples": (requests.Evaluate, {"importance_samples": 0}, "importance_samples=0"),
    "a naive sampler that does nothing": (requests.Sample, {"naive_passes": 0}, "naive_passes=0"),
    "no image to draw": (requests.Sample, {"batch_sizes": (0,)}, "batch_sizes"),
    "no seed": (requests.Convergence, {"seeds": ()}, "seeds"),
    "no implementation": (requests.Convergence, {"implementation": ()}, "implementation"),
    "nothing to scale": (requests.Scaling, dict.fromkeys(("layers", "channels", "batches", "sides"), ()), "layers"),
    "no side": (requests.Scaling, {"sides": (0,)}, "sides"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_request_is_refused_by_name(case):
    request, values, message = WRONG[case]
    with pytest.raises(ConfigError, match=message):
        request(**values)


WRONG_COMMANDS = {
    "a precision": (["step", "--precision=float16"], "float16"),
    "a flag file": (["step", "--flagfile=flags/absent.cfg"], "absent.cfg"),
    "a subcommand": (["steps"], "begin with one of input, prepare, sample, size, step, profile, convergence, outputs,"),
    "a flag of another subcommand": (["evaluate", "--xla=none"], "xla"),
}


@pytest.mark.parametrize("case", WRONG_COMMANDS)
def test_a_wrong_command_ends_with_one_line(case):
    arguments, message = WRONG_COMMANDS[case]
    assert message in error_line(tool("benchmark", *arguments))


def test_works_are_timed_in_turns():
    calls = []
    times = timing.in_turns([lambda: calls.append("a"), lambda: calls.append("b")], 3)
    assert calls == ["a", "b"] * 3
    assert [len(own) for own in times] == [3, 3]
    found = timing.summary([timing.Time(wall, 2 * wall) for wall in (0.2, 0.1, 0.4)], calls=2)
    assert found == {"ms": 100.0, "ms_lowest": 50.0, "ms_highest": 200.0, "cpu_ms": 200.0}


def test_memory_of_a_piece_of_work_is_what_it_holds_at_its_highest():
    def work():
        time.sleep(0.3 * float(tf.reduce_sum(tf.fill([2**24], 2.0**-24))))

    for found in (timing.memory_of(work), timing.memory_of(work)):
        assert 64 <= found.peak - found.before <= 128
