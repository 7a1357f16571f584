"""A run knows which images it was trained on, and tells of others."""

import json
import math

import pytest

from pixelvae_tf.runs.workdir import Run
from pixelvae_tf.training.validation import ValidationRecords


def images(count, sha256):
    return {"images": count, "sha256": sha256}


DATA = {"train": images(20, "a"), "validation": images(6, "b"), "test": images(6, "b")}

BEST = {"step": 2, "nll_bound_nats": 3.0, "weights": "raw", "file": "step-00000002.weights.h5", "sha256": "e"}


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path)
    assert run.keep_fingerprint(DATA) is None
    return run


def test_the_same_images_are_not_spoken_of(run):
    assert run.keep_fingerprint(DATA) is None
    assert run.fingerprint() == DATA


def test_other_images_are_told_with_both_counts(run):
    told = run.keep_fingerprint(DATA | {"train": images(31, "c")})
    assert "train 20 images then, 31 now" in told and "validation" not in told
    assert "validation 6 images then, 6 now" in run.keep_fingerprint(DATA | {"validation": images(6, "d")})


def test_a_best_bound_on_other_validation_images_is_none(run):
    run.best_folder.mkdir()
    run.best_file.write_text(json.dumps(BEST | {"validation_data": DATA["validation"]}))
    assert ValidationRecords(run, None, None).best_bound == 3.0
    run.keep_fingerprint(DATA | {"validation": images(9, "d")})
    assert ValidationRecords(run, None, None).best_bound == math.inf


def test_a_best_bound_of_a_run_without_a_fingerprint_holds(tmp_path):
    run = Run(tmp_path)
    run.best_folder.mkdir()
    run.best_file.write_text(json.dumps(BEST))
    assert ValidationRecords(run, None, None).best_bound == 3.0
