"""The learning rate step by step, and that the best validation bound decides which weights are kept."""

import itertools
import json
import math
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny
from commands import TINY, run

import pixelvae_tf
from pixelvae_tf import DataConfig, RunConfig, TrainConfig, data
from pixelvae_tf.benchmarks import convergence
from pixelvae_tf.training import run as training_run
from pixelvae_tf.training.devices import Devices
from pixelvae_tf.training.optimizers import LearningRate
from pixelvae_tf.training.run import build_model
from pixelvae_tf.training.soap import SOAP


def rate(step: int, **settings) -> float:
    return float(LearningRate(TrainConfig(steps=100, learning_rate=0.5, **settings))(step))


@pytest.mark.parametrize("step", [0, 1, 50, 99, 1000])
def test_a_constant_learning_rate_stays(step):
    assert rate(step) == 0.5


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.5), (29, 0.5), (30, 0.1), (59, 0.1), (60, 0.02), (89, 0.02), (90, 0.004)]
)
def test_a_step_schedule_multiplies_by_the_decay_every_so_many_steps(step, expected):
    settings = {"learning_rate_schedule": "step", "learning_rate_decay": 0.2, "learning_rate_decay_steps": 30}
    assert rate(step, **settings) == pytest.approx(expected)


@pytest.mark.parametrize("step", [0, 10, 25, 50, 75, 100, 200])
@pytest.mark.parametrize("last", [0.0, 0.1])
def test_a_cosine_falls_to_its_final_fraction_at_the_last_step_and_stays(step, last):
    expected = 0.5 * (last + (1 - last) * (1 + math.cos(math.pi * min(step, 100) / 100)) / 2)
    found = rate(step, learning_rate_schedule="cosine", learning_rate_decay=last)
    assert found == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_warm_up_rises_linearly_and_hands_over_at_the_full_rate(schedule):
    settings = {"learning_rate_schedule": schedule, "learning_rate_warmup_steps": 10}
    for step in range(10):
        assert rate(step, **settings) == pytest.approx(0.05 * (step + 1))
    assert rate(10, **settings) == pytest.approx(0.5)
    # The cosine takes the steps that are left.
    halfway = 0.5 * (0.1 + 0.9 / 2) if schedule == "cosine" else 0.5
    assert rate(55, **settings) == pytest.approx(halfway)


def test_a_schedule_is_saved_with_its_optimizer():
    schedule = LearningRate(TrainConfig(steps=50, learning_rate_schedule="cosine"))
    clone = LearningRate.from_config(json.loads(json.dumps(schedule.get_config())))
    assert [float(clone(step)) for step in (0, 20, 50)] == [float(schedule(step)) for step in (0, 20, 50)]


def test_adam_takes_the_rate_of_the_step():
    """Adam's first steps on a constant gradient are as long as the learning rate."""
    schedule = LearningRate(TrainConfig(steps=10, learning_rate=0.5, learning_rate_warmup_steps=5))
    weight = keras.Variable([0.0])
    optimizer = keras.optimizers.Adam(schedule)
    optimizer.build([weight])
    for step in range(4):
        before = float(weight[0])
        optimizer.apply([np.ones(1, "float32")], [weight])
        assert before - float(weight[0]) == pytest.approx(0.1 * (step + 1), rel=1e-3)


@pytest.mark.parametrize("name", ["adam", "soap"])
def test_the_optimizer_is_the_one_of_the_configuration_at_its_learning_rate(name):
    settings = TrainConfig(optimizer=name, learning_rate=0.25)
    optimizer = build_model(RunConfig(tiny.BINARY, training=settings)).optimizer
    assert isinstance(optimizer, {"adam": keras.optimizers.Adam, "soap": SOAP}[name])
    assert float(optimizer.learning_rate) == 0.25


def test_training_and_its_benchmark_read_the_batches_of_the_configuration(monkeypatch):
    config = RunConfig(
        tiny.BINARY, DataConfig(), TrainConfig(batch_size=16, seed=5, augmentation=0.5, augmentation_steps=9)
    )
    expected = data.training_batches(config.data, batch_size=16, seed=5, augmentation=data.Augmentation(0.5, 9))
    expected = list(itertools.islice(expected.as_numpy_iterator(), 12))
    plain = next(data.training_batches(config.data, batch_size=16, seed=5).as_numpy_iterator())
    assert not np.array_equal(plain, expected[0])
    batches = training_run._training_batches(config, Devices(tf.distribute.get_strategy()), start_step=8)
    np.testing.assert_array_equal(list(itertools.islice(batches.as_numpy_iterator(), 4)), expected[8:])

    model, seen = mock.MagicMock(), []
    model.fit = lambda batches, **_: seen.extend(itertools.islice(batches.as_numpy_iterator(), 12))
    model.evaluate.return_value = {}
    monkeypatch.setattr(convergence, "build", lambda *_: model)
    monkeypatch.setattr(convergence._Losses, "record", lambda self: {})
    convergence.trained(config, images=None)
    np.testing.assert_array_equal(seen, expected)


@pytest.fixture(scope="module")
def unsteady(tmp_path_factory):
    """A run with hardly a weight on the KL, at a high learning rate: its last validation is not its best one."""
    workdir = tmp_path_factory.mktemp("run") / "digits"
    result = run(
        "train",
        *TINY,
        "--steps=4",
        "--validation_every=2",
        "--learning_rate=0.2",
        "--seed=1",
        "--ema_decay=0.5",
        "--kl_warmup_steps=10000",
        f"--workdir={workdir}",
    )
    assert result.returncode == 0, result.stderr
    return workdir


def test_the_weights_that_are_kept_are_those_of_the_lowest_validation_bound(unsteady):
    history = [json.loads(line) for line in (unsteady / "history.jsonl").read_text().splitlines()]
    bounds = {entry["step"]: entry["bound"] for entry in history}
    assert list(bounds) == [2, 4]
    best = min(bounds, key=bounds.get)
    assert best != 4, "this run does not show the choice"
    record = json.loads((unsteady / "best" / "best.json").read_text())
    assert (record["step"], record["nll_bound_nats"]) == (best, bounds[best])
    assert [path.name for path in (unsteady / "best").glob("*.h5")] == [record["file"]]

    model = pixelvae_tf.load(unsteady)
    images = np.asarray(data.load(DataConfig(), "validation"))[:20]
    draws = [model.elbo(images, seed=seed) for seed in range(50)]
    measured = next(entry for entry in history if entry["step"] == best)
    # The KL needs no noise and tells these weights from those of any other step.
    assert draws[0].kl[0].mean() == pytest.approx(measured["kl_z1"], rel=1e-4)
    reconstructions = np.array([terms.reconstruction.mean() for terms in draws])
    assert abs(measured["reconstruction"] - reconstructions.mean()) < 5 * reconstructions.std() + 1e-3
