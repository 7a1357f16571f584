"""The tables that tools/reproduce.py makes from records."""

import copy
import json
import subprocess
import sys

import pytest
from commands import ROOT, environment, error_line

BASELINES = [{"baseline": "uniform", "nll_nats": 17034.8, "bits_per_dim": 8.0}]
RUN = {
    "config": {"training": {"batch_size": 32}},
    "summary": {"steps": 1500, "training_seconds": 480.0, "hardware": "2 CPU cores", "seed": 0, "parameters": 123456},
    "evaluations": {"validation": {"nll_bound_nats": 10000.0, "kl_nats": [120.04, 3.0]}},
}


def table(folder, records: dict) -> subprocess.CompletedProcess:
    """Section 4.2's table from these records alone."""
    for name, values in records.items():
        (folder / f"{name}.json").write_text(json.dumps(values))
    command = [sys.executable, "tools/reproduce.py", "section42", f"--results={folder}"]
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60)


def run_of(bits: float) -> dict:
    run = copy.deepcopy(RUN)
    run["evaluations"]["validation"]["bits_per_dim"] = bits
    return run


@pytest.mark.parametrize("better", ["compare32", "compare32_conv_vae"])
def test_the_systems_stand_in_the_order_that_was_found(better, tmp_path):
    records = {name: run_of(5.25 if name == better else 6.5) for name in ("compare32", "compare32_conv_vae")}
    lines = table(tmp_path, {"compare32_baselines": BASELINES, **records}).stdout.splitlines()
    assert lines[0].startswith("| model | nats an image | bits per dimension | KL of each level, nats | weights |")
    assert "uniform" in lines[2]
    assert "≤ 6.500" in lines[3]
    assert "≤ 5.250 | 120.0 + 3.0 | 123,456 | 1,500 steps of 32, 8.0 minutes on 2 CPU cores, seed 0 |" in lines[4]
    assert ("without masked layers" in lines[4]) == (better == "compare32_conv_vae")


def test_a_system_without_a_run_says_so(tmp_path):
    lines = table(tmp_path, {"compare32": run_of(5.25)}).stdout.splitlines()
    assert sum("| no run |" in line for line in lines) == 3
    assert "two-level PixelVAE" in lines[2]


def test_a_run_that_was_not_evaluated_on_the_split_is_named(tmp_path):
    run = {**RUN, "evaluations": {"test": RUN["evaluations"]["validation"]}}
    line = error_line(table(tmp_path, {"compare32": run}))
    assert "compare32.json" in line
    assert "--split=validation" in line
