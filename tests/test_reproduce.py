"""The tables that tools/reproduce.py makes from records and from work directories."""

import json

import pytest
from commands import error_line
from reproducing import MNIST, reproduce, run_of, table

from pixelvae_tf import files
from pixelvae_tf.runs.workdir import Run

BASELINES = [{"baseline": "uniform", "nll_nats": 17034.8, "bits_per_dim": 8.0}]


@pytest.mark.parametrize("better", ["compare32", "compare32_conv_vae"])
def test_the_systems_stand_in_the_order_that_was_found(better, tmp_path):
    records = {
        name: run_of(name, "validation", bits_per_dim=5.25 if name == better else 6.5)
        for name in ("compare32", "compare32_conv_vae")
    }
    lines = table(tmp_path, "section42", {"compare32_baselines": BASELINES, **records})
    assert lines[0].startswith("| model | nats an image | bits per dimension | KL of each level, nats | weights |")
    assert "uniform" in lines[2]
    assert "≤ 6.500" in lines[3]
    assert "≤ 5.250 | 120.0 + 3.0 | 123,456 | 1,500 steps of 32, 8.0 minutes on 2 CPU cores, seed 0 |" in lines[4]
    assert ("without masked layers" in lines[4]) == (better == "compare32_conv_vae")


def test_a_system_without_a_run_says_so(tmp_path):
    lines = table(tmp_path, "section42", {"compare32": run_of("compare32", "validation", bits_per_dim=5.25)})
    assert sum("| no run |" in line for line in lines) == 5
    assert "two-level PixelVAE" in lines[2]


def test_a_run_that_was_not_evaluated_on_the_split_is_named(tmp_path):
    (tmp_path / "compare32.json").write_text(json.dumps(run_of("compare32", "test")))
    line = error_line(reproduce(tmp_path, "section42"))
    assert "compare32.json" in line
    assert "--split=validation" in line


def test_a_run_of_another_model_or_dataset_than_its_flag_files_is_named_and_not_shown(tmp_path):
    records = {
        "mnist_vae": run_of("mnist_vae", "test", "--latent_channels=8", images=MNIST),
        "mnist_pixelvae": run_of("mnist_pixelvae", "test", "--dataset=mnist", images=MNIST),
        # How long it trained may differ, and where the data lay.
        "mnist_pixelcnn": run_of("mnist_pixelcnn", "test", "--learning_rate=0.5", "--data_dir=DIR", images=MNIST),
    }
    other = run_of("mnist_gated_pixelvae", "test", images=MNIST)
    other["config"]["model"]["depth"] = 3
    lines = table(tmp_path, "table1", {**records, "mnist_gated_pixelvae": other})
    assert any("`mnist_gated_pixelvae` is not" in line and "depth" in line for line in lines)
    vae, pixelvae, pixelcnn = (
        next(line for line in lines if line.startswith(f"| {name} |")) for name in ("VAE", "PixelVAE", "PixelCNN")
    )
    assert "`mnist_vae` is not flags/mnist_vae.cfg: latent_channels was (16,) and is now (8,)" in vae
    assert "dataset was 'binarized_mnist' and is now 'mnist'" in pixelvae
    assert "10,000.00" in pixelcnn
    assert not any("10,000.00" in line for line in (vae, pixelvae))


def test_table_1_has_the_papers_numbers_beside_ours_and_says_which_order_holds(tmp_path):
    def ours(flag_file: str, nats: float, **found) -> dict:
        return run_of(flag_file, "test", images=MNIST, nll_bound_nats=nats, **found)

    records = {
        "mnist_vae": ours("mnist_vae", 110.0),
        "mnist_pixelcnn": ours("mnist_pixelcnn", 90.0, kl_nats=[]),
        "mnist_pixelvae": ours("mnist_pixelvae", 95.0),
        "mnist_best": ours("mnist", 80.0, num_examples=500, nll_importance_nats=79.0, nll_importance_stderr=0.25),
        "mnist_short": {**ours("mnist", 70.0), "summary": {**ours("mnist", 0)["summary"], "steps": 3}},
    }
    lines = table(tmp_path, "table1", records)
    assert len(lines) == 2 + 12 + 2
    rows = {line.split(" | ")[0].strip("| "): line for line in lines}
    assert "| 81.30 |  | 90.00 |  | 10,000 | `mnist_pixelcnn`: 1,500 steps of 32" in rows["PixelCNN"]
    assert "| ≤ 87.40 |  | ≤ 110.00 |" in rows["VAE"]
    assert "| 79.20 |  | no run |" in rows["PixelRNN"]
    assert "|  |  | no run |" in rows["PixelVAE with a learned prior, not in the paper"]
    best, short = (line for line in lines if line.startswith("| Gated PixelVAE without"))
    assert "| ≤ 79.77 | 79.17 | ≤ 80.00 | 79.00 ± 0.25 | 500 | `mnist_best`" in best
    assert "| ≤ 70.00 |" in short
    # Runs of another length do not take part.
    assert lines[-1] == (
        "After 1,500 steps of 32, 5 of 6 pairs of models stand in the paper's order. "
        "The other pairs are reversed: PixelCNN beats PixelVAE."
    )


def test_a_second_seed_has_a_row_of_its_own_and_the_order_is_that_of_the_means(tmp_path):
    values = {"mnist_pixelcnn": 94.0, "mnist_pixelcnn_seed1": 97.0, "mnist_pixelvae": 95.0}
    records = {
        name: run_of(name.removesuffix("_seed1"), "test", images=MNIST, nll_bound_nats=value, kl_nats=[])
        for name, value in values.items()
    }
    lines = table(tmp_path, "table1", records)
    first, second = (line for line in lines if line.startswith("| PixelCNN |"))
    assert "94.00" in first and "97.00" in second and "`mnist_pixelcnn_seed1`" in second
    assert lines[-1] == "After 1,500 steps of 32, 1 of 1 pairs of models stand in the paper's order."


def test_a_run_from_the_weights_of_another_says_so(tmp_path):
    run = run_of("mnist", "test", "--initialize_from=runs/mnist_best", images=MNIST)
    lines = table(tmp_path, "table1", {"mnist_dropout": run})
    assert any("`mnist_dropout`: 1,500 steps of 32 from the weights of `mnist_best`, 8.0 min" in line for line in lines)
    run = run_of("mnist", "test", "--initialize_from=runs/a,runs/b,runs/c", images=MNIST)
    lines = table(tmp_path, "table1", {"mnist_dropout": run})
    assert any("steps of 32 from the mean of the weights of `a`, `b` and `c`, 8.0 min" in line for line in lines)


def test_the_short_table_has_a_row_for_the_learned_prior_once_there_is_a_run_of_it(tmp_path):
    best = run_of("mnist", "test", images=MNIST, nll_bound_nats=80.0, bits_per_dim=0.147)
    lines = table(tmp_path, "summary", {"mnist_dropout": best})
    assert len(lines) == 2 + 3
    assert "| `binarized_mnist`, 10,000 of test | ≤ 79.77, estimate 79.17 | ≤ 80.00 | ≤ 0.147 |" in lines[2]
    assert "no run" in lines[3]
    flow = run_of("mnist_soup_flow", "test", images=MNIST, nll_bound_nats=78.5, bits_per_dim=0.144)
    lines = table(tmp_path, "summary", {"mnist_dropout": best, "mnist_mean_flow": flow})
    assert len(lines) == 2 + 4
    assert "learned prior" in lines[3] and "|  | ≤ 78.50 |" in lines[3]


def test_table_2_names_the_images_of_every_likelihood(tmp_path):
    images = {"image_shape": (64, 64, 3), "pixel_levels": 256}
    run = run_of("imagenet64", "validation", images=images, bits_per_dim=3.7, variant="chrabaszcz")
    run["evaluations"]["train"] = {"bits_per_dim": 3.6}
    lines = table(tmp_path, "table2", {"imagenet64": run})
    assert "| Gated PixelCNN | 3.57 (3.48) | no run |" in lines[3]
    assert "| Hierarchical PixelVAE | ≤ 3.66 (3.59) | ≤ 3.70 (3.60) | 10,000 of `chrabaszcz` |" in lines[4]
    assert "not comparable" in lines[-1]


def test_a_work_directory_is_taken_before_the_record_but_not_for_the_readme(tmp_path):
    record = run_of("mnist_vae", "test", images=MNIST, nll_bound_nats=101.0)
    run = Run(tmp_path / "runs" / "mnist_vae")
    run.workdir.mkdir(parents=True)
    files.write_json(run.config_file, record["config"])
    # A run without a summary is not finished.
    assert "101.00" in table(tmp_path, "table1", {"mnist_vae": record})[3]
    files.write_json(run.summary_file, record["summary"])
    run.keep_evaluation("test", {**record["evaluations"]["test"], "nll_bound_nats": 99.0})
    assert "99.00" in table(tmp_path, "table1", {})[3]
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table table1 -->\n<!-- end -->\nafter\n")
    assert reproduce(tmp_path, "readme", f"--readme={page}").returncode == 0
    text = page.read_text()
    assert "101.00" in text and "99.00" not in text
    assert text.startswith("before\n") and text.endswith("after\n")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["tabel1"], ["'tabel1'", "table1", "figure6", "readme"]),
        (["figure2"], ["--output"]),
        (["table1", "--output=a.png"], ["--output", "table1 is a table"]),
    ],
)
def test_what_cannot_be_made_ends_with_one_line(words, expected, tmp_path):
    line = error_line(reproduce(tmp_path, *words))
    assert all(part in line for part in expected)


def test_files_of_images_stand_beside_the_bound_and_general_methods(tmp_path):
    ours = {
        "bytes": 1009,
        "ideal_bytes": 1000,
        "bits_per_dim": 0.1029,
        "ideal_bits_per_dim": 0.102,
        "importance_bits_per_dim": 0.1011,
        "header_bytes": 5,
        "initial_bits": 32,
        "batch_size": 10,
        "compressed_a_second": 3.0,
        "restored_a_second": 2.0,
        "scored_a_second": 100.0,
    }
    record = {
        "model": "binarized_mnist_best",
        "split": "test",
        "num_images": 100,
        "image_shape": [28, 28, 1],
        "others": [{"method": "lzma, all at once", "bytes": 2450, "seconds": 0.1}],
        "ours": ours,
    }
    records = {"compression_mnist": record}
    rows = table(tmp_path, "compression", records)
    assert rows[0] == "| bits per dimension | `binarized_mnist_best`, 100 of test |"
    assert rows[2:] == [
        "| lzma, all at once | 0.2500 |",
        "| **the model's file** | 0.1029 |",
        "| its bound, ideally | 0.1020 |",
        "| its importance estimate | 0.1011 |",
    ]
    (costs,) = table(tmp_path, "compression_costs", records)[2:]
    assert costs.startswith(
        "| `binarized_mnist_best` | 100 | 1,000 | 1,009 | +9 (+0.90%) | 9 | 10 | 3.0 | 2.0 | 100.0 |"
    )


def test_steps_on_a_gpu_come_from_several_records(tmp_path):
    row = {
        "implementation": "ours",
        "xla": "elementwise",
        "precision": "float32",
        "activations": "stored",
        "batch_size": 100,
        "ms": 60.0,
        "ms_lowest": 59.0,
        "ms_highest": 61.0,
        "cpu_ms": 99.0,
        "images_per_second": 1600.0,
        "computed_gflop": 66.0,
        "gflop_per_second": 1000.0,
        "fraction_of_matrix_rate": 0.003,
        "memory_before_mib": 100,
        "peak_memory_mib": 900,
        "calculated_memory_mib": 700,
    }
    record = {"rows": [row], "hardware": "a GPU", "tensorflow": "2.21.0"}
    command = "tools/benchmark.py step --flagfile=flags/{}.cfg"
    records = {
        "benchmark_step_mnist_gpu_float32": {**record, "command": command.format("mnist")},
        "benchmark_step_imagenet64_small_gpu": {**record, "command": command.format("imagenet64_small")},
    }
    _, _, *rows, _, device = table(tmp_path, "steps_on_a_gpu", records)
    assert [line.split(" | ")[0] for line in rows] == ["| `mnist`", "| `imagenet64_small`"]
    assert "| 0.3% | 800 | 700 |" in rows[0]
    assert device == "a GPU, TensorFlow 2.21.0."
