"""The other benchmarks, how they measure time and memory, and what the command refuses."""

import time

import numpy as np
import pytest
import tensorflow as tf
from commands import error_line, tool
from small_runs import SMALLEST, run_of

from pixelvae_tf.benchmarks import evaluate, requests, sample, scaling, size, timing
from pixelvae_tf.config import ConfigError
from pixelvae_tf.training.run import build_model


def test_two_steps_are_taken_and_the_bound_of_a_batch_comes_out():
    found = size.measured(lambda: build_model(run_of(**SMALLEST)), batch_size=2)
    assert found["batch_size"] == 2
    assert found["losses_nats"][0] != found["losses_nats"][1]
    assert np.isfinite(found["bound_bits_per_dim"])


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
