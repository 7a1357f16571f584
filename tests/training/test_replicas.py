"""Several replicas and several workers compute what one device computes."""

import numpy as np
import pytest
from commands import ROOT, start_script
from replicas import BATCH_SIZE, CASES, OF_WORKERS
from workers import ended, start_workers

REPLICAS = ROOT / "tests" / "replicas.py"


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
    assert ("averaged" in case) == bool(one["averages"].size)
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
    precise = outputs[0]["one/one level, clipped/losses"]
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
