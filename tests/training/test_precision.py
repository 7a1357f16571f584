"""Training takes the precision that its device multiplies fastest, and keeps it."""

import dataclasses

import pytest
import tensorflow as tf
import tiny
import workdirs

from pixelvae_tf import processor
from pixelvae_tf.config import RunConfig, TrainConfig
from pixelvae_tf.runs.workdir import Run
from pixelvae_tf.training import precision
from pixelvae_tf.training.run import build_model

CPUINFO = """processor\t: 0
model name\t: Some CPU @ 2.00GHz
flags\t\t: fpu sse2 avx2 {features}
processor\t: 1
model name\t: Some CPU @ 2.00GHz
flags\t\t: fpu sse2 avx2 {features}
"""


@pytest.fixture
def machine(monkeypatch):
    """Gives the process a processor with these features, and these GPUs by their compute capability."""

    def become(features: str = "", gpus=()):
        monkeypatch.setattr(processor, "_cpuinfo", lambda: CPUINFO.format(features=features))
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: list(gpus))
        monkeypatch.setattr(
            tf.config.experimental, "get_device_details", lambda gpu: {"compute_capability": gpu} if gpu else {}
        )

    return become


@pytest.mark.parametrize(
    ("features", "gpus", "expected"),
    [
        ("avx512f", (), "float32"),
        ("avx512f avx512_bf16", (), "bfloat16"),
        ("amx_tile amx_bf16", (), "bfloat16"),
        ("", ((8, 0),), "bfloat16"),
        ("", ((9, 0), (7, 5)), "float32"),
        ("avx512_bf16", ((7, 5),), "float32"),
        ("avx512_bf16", (None,), "float32"),
    ],
)
def test_bfloat16_is_for_devices_that_multiply_it_in_hardware(machine, features, gpus, expected):
    machine(features, gpus)
    assert precision.best_precision() == expected
    assert precision.with_precision(RunConfig()).training.mixed_precision == expected


def test_a_processor_is_told_by_its_name_its_cores_and_what_speeds_matrices(machine):
    machine("avx512f avx512_bf16")
    assert processor.describe().startswith("Some CPU @ 2.00GHz, ")
    assert processor.describe().endswith(" CPU cores with AVX512F, AVX512-BF16")


def test_a_deterministic_run_and_an_explicit_choice_do_not_ask_the_device(machine):
    machine("avx512_bf16")
    deterministic = RunConfig(training=TrainConfig(deterministic=True))
    assert precision.with_precision(deterministic).training.mixed_precision == "float32"
    chosen = RunConfig(training=TrainConfig(mixed_precision="float32"))
    assert precision.with_precision(chosen) == chosen


def test_a_run_continues_in_the_precision_that_it_began_with(machine, tmp_path):
    machine("avx512_bf16")
    config = RunConfig(workdirs.DIGITS)
    run = Run(tmp_path / "run")
    began = precision.with_precision(config, run)
    assert began.training.mixed_precision == "bfloat16"
    run.claim(began)
    machine("")
    assert precision.with_precision(config).training.mixed_precision == "float32"
    assert precision.with_precision(config, run) == began
    run.join(dataclasses.replace(began, training=config.training))  # A worker that leaves the choice to the run.


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_the_network_computes_in_the_chosen_precision_and_keeps_float32_weights(name):
    model = build_model(RunConfig(tiny.BINARY, training=TrainConfig(mixed_precision=name)))
    assert model.encoder.compute_dtype == name
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
