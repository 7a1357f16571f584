"""Runs `tools/reproduce.py` on records that a test writes."""

import json
import subprocess

from commands import ROOT, tool

from pixelvae_tf.commandline.flags import configuration

MNIST = {"image_shape": (28, 28, 1), "pixel_levels": 2}
PHOTOGRAPHS = {"image_shape": (32, 32, 3), "pixel_levels": 256}


def reproduce(folder, what: str, *flags: str) -> subprocess.CompletedProcess:
    """Makes a table or figure of what lies in a folder: records, and work directories in runs/."""
    return tool("reproduce", what, f"--results={folder}", f"--runs={folder / 'runs'}", *flags)


def table(folder, what: str, records: dict) -> list[str]:
    for name, values in records.items():
        (folder / f"{name}.json").write_text(json.dumps(values))
    result = reproduce(folder, what)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def run_of(flag_file: str, split: str, *changes: str, images=PHOTOGRAPHS, steps: int = 1500, **found) -> dict:
    """The record of a run of a flag file, with what was measured on a split."""
    config = configuration(ROOT / "flags" / f"{flag_file}.cfg", list(changes), **images).to_dict()
    measured = {
        "checkpoint_step": 1,
        "nll_bound_nats": 10000.0,
        "kl_nats": [120.04, 3.0],
        "num_examples": 10000,
        **found,
    }
    return {
        "config": {**config, "training": {**config["training"], "batch_size": 32}},
        "summary": {
            "steps": steps,
            "best_step": 1,
            "training_seconds": 480.0,
            "hardware": "2 CPU cores",
            "seed": 0,
            "parameters": 123456,
        },
        "evaluations": {split: measured},
        "history": [],
    }
