"""The pages tell the truth: their tables are what the committed records give, and these say where they come from."""

import json
import re
import subprocess
import sys

import pytest
from commands import ROOT, environment

_DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", *(page for page in _DOCS if "<!-- table " in page.read_text())]


def test_every_table_is_what_the_records_give(tmp_path):
    copies = [tmp_path / page.name for page in PAGES]
    for page, copy in zip(PAGES, copies, strict=True):
        copy.write_text(page.read_text())
    result = subprocess.run(
        [sys.executable, "tools/reproduce.py", "readme", f"--readme={','.join(map(str, copies))}"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    for page, copy in zip(PAGES, copies, strict=True):
        assert copy.read_text() == page.read_text(), page.name
        assert page.read_text().count("<!-- table ") == page.read_text().count("<!-- end -->") >= 1, page.name


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*.json")), ids=lambda path: path.stem)
def test_every_record_says_how_and_where_it_was_made(path):
    record = json.loads(path.read_text())
    if isinstance(record, list):
        assert all({"baseline", "dataset", "split", "nll_nats", "bits_per_dim"} <= set(row) for row in record)
        return
    assert not re.search(r'["=]/', path.read_text()), "a path of the machine that made it"
    if "benchmark" in record:
        assert {"rows", "hardware", "revision", "tensorflow"} <= set(record)
        return
    if path.stem.startswith("probe_"):
        assert {"dataset", "num_examples", "seed", "rows", "hardware", "revision", "tensorflow"} <= set(record)
        assert "pixels" in path.stem or record["checkpoint_step"] == record["summary"]["best_step"]
        return
    if path.stem.startswith("compression_"):
        assert {"model", "split", "num_images", "others", "hardware", "revision", "tensorflow"} <= set(record)
        ours = record["ours"]
        assert ours["bytes"] <= 1.01 * ours["ideal_bytes"] + 64
        return
    if path.stem.startswith("anomaly_"):
        evaluations = [images["evaluation"] for images in (record["normal"], *record["foreign"])]
        # All scores are of the same weights and code.
        for name in ("checkpoint_step", "weights", "revision", "tensorflow", "hardware"):
            assert len({found[name] for found in evaluations}) == 1
        assert all(0 <= images["auc_bound"] <= 1 for images in record["foreign"])
        return
    assert {"config", "summary", "evaluations", "history"} <= set(record)
    assert {"steps", "seed", "training_seconds", "hardware", "revision", "tensorflow"} <= set(record["summary"])
    for found in record["evaluations"].values():
        assert found["checkpoint_step"] == record["summary"]["best_step"]
    assert record["summary"]["best_validation_bound_nats"] == min(entry["bound"] for entry in record["history"])
