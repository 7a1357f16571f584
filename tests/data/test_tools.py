"""The command lines that prepare data: one JSON object, nothing else on the screen, and errors in one line."""

import json

import pytest
from commands import error_line, tool
from fakes import pictures, small_imagenet

from pixelvae_tf.benchmarks import prepare, requests


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A dataset of 40 images, prepared as a user does, and what the command printed."""
    folder = tmp_path_factory.mktemp("tools")
    archive = small_imagenet(folder / "train.tar", pictures(40))
    result = tool("prepare_imagenet", f"--input={archive}", f"--output={folder / 'out'}", "--split=train")
    return folder, result


def test_a_preparation_prints_its_summary_and_nothing_else(prepared):
    folder, result = prepared
    assert result.returncode == 0 and result.stderr == "", result.stderr
    summary = json.loads(result.stdout)
    assert (summary["images"], summary["skipped"], summary["split"]) == (40, 0, "train")
    assert summary["images_per_second"] > 0 and 0 < summary["peak_memory_mib"] < 4096


def test_the_benchmark_sets_reading_beside_raw_rates(prepared):
    folder, _ = prepared
    flags = ("--batch_size=8", "--images=80", "--augmentation=0.5")
    result = tool("benchmark", "input", f"--data_dir={folder / 'out'}", *flags)
    assert result.returncode == 0, result.stderr
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["measure"].split(":")[0] for row in rows] == ["read", "read", "decode", "pipeline", "pipeline"]
    assert rows[-1]["measure"] == "pipeline: the same, 50% transformed"
    assert all(row["images_per_second"] > 0 and row["peak_memory_mib"] > 0 for row in rows)
    assert rows[-1]["images"] == 80 and "images/s" in result.stderr


def test_preparing_is_timed_beside_reading_and_decoding_and_leaves_nothing(prepared):
    folder, _ = prepared
    before = sorted(folder.iterdir())
    rows = list(prepare.measure(requests.Prepare(str(folder / "train.tar"))))
    assert [row["images"] for row in rows] == [40, 40, 40]
    assert sorted(folder.iterdir()) == before


def test_what_cannot_be_used_is_told_at_once_in_one_line(tmp_path):
    (tmp_path / "data.mdb").write_text("no database")
    assert "no LMDB database" in error_line(tool("prepare_lsun", f"--lmdb={tmp_path}", "--output=out"))
    absent = tmp_path / "absent"
    assert f"--input={absent}" in error_line(tool("prepare_imagenet", f"--input={absent}", "--output=out"))
    assert "input, prepare" in error_line(tool("benchmark", "everything"))
