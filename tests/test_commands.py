"""The command lines: what they write, and one clear line for what they cannot use."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from commands import ROOT, TINY, environment, error_line, run, run_anew
from PIL import Image


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished tiny run with averaged weights."""
    workdir = tmp_path_factory.mktemp("run") / "digits"
    result = run_anew(
        "train",
        *TINY,
        "--steps=6",
        "--validation_every=3",
        "--ema_decay=0.5",
        "--log_every=2",
        "--images_every=3",
        f"--workdir={workdir}",
    )
    assert result.returncode == 0, result.stderr
    assert "trained 6 steps" in result.stdout
    assert result.stderr == ""
    return workdir


def test_a_run_records_configuration_history_and_summary(trained):
    config = json.loads((trained / "config.json").read_text())
    assert config["model"]["image_shape"] == [8, 8, 1]
    assert config["model"]["pixel_levels"] == 17
    history = [json.loads(line) for line in (trained / "history.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in history] == [3, 6]
    summary = json.loads((trained / "summary.json").read_text())
    assert summary["steps"] == 6
    assert (summary["weights"], summary["precision"]) == ("averaged", "float32")
    assert summary["best_validation_bound_nats"] == min(entry["bound"] for entry in history)


def test_tensorboard_shows_the_bound_its_parts_and_the_pictures(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tags = {}
    for part in ("train", "validation"):
        events = EventAccumulator(str(trained / part), size_guidance={"tensors": 0})
        events.Reload()
        tags[part] = events.Tags()
        for name in ("bound", "reconstruction", "kl_z1"):
            assert {f"nats/{name}", f"bits_per_dim/{name}"} <= set(tags[part]["tensors"])
    for name in ("kl_weight_z1", "learning_rate", "gradient_norm", "images_per_second", "loss"):
        assert f"training/{name}" in tags["train"]["tensors"]
    assert tags["train"]["graph"]
    assert {"samples", "reconstructions"} <= set(tags["validation"]["tensors"])
    assert "_hparams_/session_start_info" in tags["train"]["tensors"]


def test_evaluation_counts_every_image_once_whatever_the_batch_size(trained):
    records = []
    for batch_size in (64, 300):
        result = run("evaluate", f"--workdir={trained}", f"--batch_size={batch_size}", "--importance_samples=3")
        assert (result.returncode, result.stderr) == (0, "")
        records.append(json.loads(result.stdout))
        assert json.loads((trained / "eval_test.json").read_text()) == records[-1]
    for record in records:
        assert record["num_examples"] == 300
        assert record["checkpoint_step"] == 6
        assert record["weights"] == "averaged"
        assert record["importance_samples"] == 3
        assert record["nll_bound_nats"] == pytest.approx(record["reconstruction_nats"] + sum(record["kl_nats"]))
        assert record["bits_per_dim"] == pytest.approx(record["nll_bound_nats"] / (64 * np.log(2)))
    # Other noise, the same images: the means agree within what the noise explains.
    assert records[0]["nll_bound_nats"] == pytest.approx(records[1]["nll_bound_nats"], rel=5e-3)


def test_sampling_writes_a_grid_that_the_seed_repeats(trained, tmp_path):
    files = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    for path, seed in zip(files, (1, 1, 2), strict=True):
        result = run("sample", f"--workdir={trained}", f"--output={path}", "--num_samples=4", f"--seed={seed}")
        assert (result.returncode, result.stderr) == (0, "")
    first, again, other = (np.asarray(Image.open(path)) for path in files)
    assert first.shape == (131, 131)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_an_unconditional_model_reports_no_kl(tmp_path):
    flags = [flag for flag in TINY if "latent" not in flag]
    workdir = f"--workdir={tmp_path / 'run'}"
    trial = run("train", *flags, "--latent_channels=", "--steps=2", "--learning_rate_warmup_steps=100", workdir)
    assert trial.returncode == 0 and "is cut from 100 to 0 steps" in trial.stderr
    record = json.loads(run("evaluate", workdir, "--max_examples=50", "--importance_samples=7").stdout)
    assert record["kl_nats"] == []
    assert record["num_examples"] == 50
    assert record["nll_importance_nats"] == pytest.approx(record["nll_bound_nats"])


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "flags").glob("*.cfg")))
def test_every_flag_file_says_what_it_is(name):
    lines = (ROOT / "flags" / f"{name}.cfg").read_text().splitlines()
    assert lines[0].startswith("# ")
    if not name.endswith("_base"):
        assert any(f"flags/{name}.cfg" in line for line in lines if line.startswith("#"))


def test_a_flag_file_is_found_beside_the_one_that_names_it_and_the_command_line_wins(tmp_path):
    (tmp_path / "base.cfg").write_text("--steps=5\n--seed=3\n")
    (tmp_path / "own.cfg").write_text("# comment\n\n--flagfile=base.cfg\n--seed=4\n--batch_size=9999\n")
    result = run(
        "train", "--seed=5", "--steps=7", f"--flagfile={tmp_path / 'own.cfg'}", "--workdir=here/run", cwd=tmp_path
    )
    # Every flag of the file arrived, since the last one is refused.
    assert "batch_size=9999" in error_line(result)
    assert not (tmp_path / "here").exists()


WRONG = {
    "an unknown flag": ("train", ["--stepz=3"], ["stepz", "steps"]),
    "a missing flag file": ("train", ["--flagfile=absent.cfg"], ["absent.cfg"]),
    "a flag file that is a folder": ("train", ["--flagfile=/"], ["--flagfile=/"]),
    "a flag file with a stray line": ("train", ["--flagfile=stray.cfg"], ["stray.cfg", "line 2", "steps 3"]),
    "a flag file that includes itself": ("train", ["--flagfile=loop.cfg"], ["loop.cfg", "itself"]),
    "a word that is no flag": ("train", ["steps=3"], ["steps=3"]),
    "a negative size": ("train", ["--batch_size=-1"], ["batch_size"]),
    "a size of zero": ("train", ["--pixelcnn_channels=0"], ["pixelcnn_channels"]),
    "a latent size of zero": ("train", ["--latent_channels=0"], ["latent_channels"]),
    "a size that is no number": ("train", ["--latent_channels=many"], ["latent_channels", "many"]),
    "initial weights of no model": (
        "train",
        ["--initialize_from=absent", "--workdir=new"],
        ["--initialize_from", "'absent'", "pretrained are"],
    ),
    "initial weights of no run": (
        "train",
        ["--initialize_from=empty/run", "--workdir=new"],
        ["--initialize_from", "empty/run: no such folder"],
    ),
    "a checksum of no weights": ("train", [f"--initialize_from_sha256={'0' * 64}"], ["initialize_from_sha256"]),
    "no work directory": ("train", ["--steps=2"], ["--workdir"]),
    "an unknown dataset": ("train", ["--dataset=digit", "--workdir=new"], ["digit", "digits"]),
    "a batch larger than the data": ("train", ["--batch_size=5000", "--workdir=new"], ["batch_size=5000", "1297"]),
    "a work directory that is a file": ("train", ["--workdir=file"], ["--workdir=file"]),
    "a work directory that cannot be made": ("train", ["--workdir=/proc/none/run"], ["--workdir=/proc/none/run"]),
    "a work directory that holds something else": ("train", ["--workdir=other"], ["other", "no run"]),
    "evaluation of no run": ("evaluate", ["--workdir=absent"], ["absent", "train first"]),
    "evaluation of an empty work directory": ("evaluate", ["--workdir=empty"], ["empty", "train first"]),
    "no importance samples": ("evaluate", ["--importance_samples=0"], ["importance_samples"]),
    "an unknown split": ("evaluate", ["--split=dev"], ["split", "dev"]),
    "no samples": ("sample", ["--num_samples=0"], ["num_samples"]),
    "samples to a folder that does not exist": ("sample", ["--output=absent/a.png"], ["absent", "does not exist"]),
    "samples to a folder": ("sample", ["--output=empty"], ["empty", "folder"]),
    "samples to nowhere": ("sample", [], ["--output"]),
    "samples of no run": ("sample", ["--output=a.png", "--workdir=empty"], ["empty", "train first"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_ends_with_one_line_and_writes_nothing(case, tmp_path):
    command, flags, expected = WRONG[case]
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "stray.cfg").write_text("--seed=1\nsteps 3\n")
    (tmp_path / "loop.cfg").write_text("--flagfile=loop.cfg\n")
    before = sorted(tmp_path.rglob("*"))
    line = error_line(run(command, *flags, cwd=tmp_path))
    for part in expected:
        assert part in line
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "command",
    [
        ["evaluate"],
        ["sample", "--output=a.png"],
        ["complete", "--split=test", "--keep_rows=4", "--output=a.png"],
        ["export", "--output=a"],
    ],
    ids=lambda command: command[0],
)
def test_a_work_directory_that_is_not_there_is_told_before_tensorflow_starts(command, tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise SystemExit('imported')")
    result = run_anew(*command, "--workdir=absent/run", cwd=tmp_path, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert "--workdir=absent/run: no such folder" in error_line(result)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_work_directory_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    assert "may not be written" in error_line(run("train", *TINY, f"--workdir={tmp_path}"))


def test_another_configuration_in_the_work_directory_is_refused_by_field(trained):
    config = (trained / "config.json").read_text()
    line = error_line(
        run(
            "train",
            *TINY,
            "--steps=6",
            "--validation_every=3",
            "--ema_decay=0.5",
            "--learning_rate=1",
            f"--workdir={trained}",
        )
    )
    assert "learning_rate was 0.001 and is now 1" in line
    assert (trained / "config.json").read_text() == config


def test_damaged_weights_are_told_as_such(trained, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    weights = next((copy / "best").glob("*.weights.h5"))
    weights.write_bytes(weights.read_bytes()[:-100])
    line = error_line(run("sample", f"--workdir={copy}", f"--output={tmp_path / 'a.png'}"))
    assert weights.name in line
    assert "damaged" in line
    (copy / "best" / "best.json").write_text("{")
    assert "best.json" in error_line(run("evaluate", f"--workdir={copy}"))


_DEFINED = """
import importlib, sys
from absl import flags
importlib.import_module("pixelvae_tf." + sys.argv[1])
print(*(flag.name for home, own in flags.FLAGS.flags_by_module_dict().items() if home[:4] != "absl" for flag in own))
"""


@pytest.mark.parametrize("command", ["train", "evaluate", "sample", "complete", "export", "compress", "decompress"])
def test_the_help_explains_every_flag_that_is_defined(command):
    result = run_anew(command, "--help")
    assert result.returncode == 0
    assert result.stderr == ""
    given = [sys.executable, "-c", _DEFINED, command]
    defined = subprocess.run(
        given, capture_output=True, text=True, check=True, cwd=ROOT, env=environment()
    ).stdout.split()
    assert "workdir" in defined
    for name in defined:
        explained = re.search(rf"^ +--(\[no\])?{name}:\s+(?!--)(\S.+)$", result.stdout, re.MULTILINE)
        assert explained and len(explained[2]) > 10, name


@pytest.mark.parametrize("path", sorted((ROOT / "tools").glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_a_tool_says_in_one_line_that_the_package_is_not_installed(path):
    # -S leaves out installed packages, -E those of PYTHONPATH.
    result = subprocess.run([sys.executable, "-S", "-E", path], capture_output=True, text=True, timeout=60)
    assert "pip install" in error_line(result)
