"""Short trainings side by side: implementations, optimizers, precisions and output distributions."""

import dataclasses

import numpy as np
import pytest
from small_runs import DIGITS, run_of

from pixelvae_tf.benchmarks import convergence, outputs, requests
from pixelvae_tf.config import DataConfig, RunConfig


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
