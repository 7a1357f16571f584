"""The figures and pictures that tools/reproduce.py draws from records and from models."""

import json
import pathlib

import numpy as np
import pytest
import workdirs
from commands import ROOT, error_line
from PIL import Image
from reproducing import MNIST, reproduce, run_of, table


def figure4_run(layers: int, bound: float, *changes: str) -> dict:
    run = run_of("mnist_figure4", "test", f"--pixelcnn_layers={layers}", *changes, images=MNIST)
    latent = {} if changes else {"kl_z1": 0.25, "reconstruction": bound - 0.25}
    return {**run, "history": [{"bound": 200.0, **latent}, {"bound": bound, **latent}]}


def test_figures_4_and_5_show_what_there_is_and_name_what_is_not(tmp_path):
    records = {
        "figure4_0": figure4_run(0, 120.0),
        "figure4_13": figure4_run(13, 90.0),
        "figure4_2": figure4_run(1, 95.0),
        "figure4_pixelcnn_4": figure4_run(4, 97.0, "--latent_channels="),
    }
    lines = table(tmp_path, "figure4", records)
    assert lines[2].startswith("| VAE | 0 | ≤ 120.00 | 119.75 | 0.25 |")
    assert lines[3].startswith("| PixelVAE | 13 | ≤ 90.00 |")
    assert lines[4].startswith("| PixelCNN | 4 | 97.00 |  |  |")
    assert lines[6] == "No run: PixelVAE with 1, 4, 8, 12 layers; PixelCNN with 1, 2, 8, 12 layers."
    assert "`figure4_2` is not flags/mnist_figure4.cfg: pixelcnn_layers was 2 and is now 1" in lines[8]
    for name, runs in (("figure4", 3), ("figure5", 2)):
        output = tmp_path / f"{name}.png"
        result = reproduce(tmp_path, name, f"--output={output}")
        assert result.returncode == 0, result.stderr
        assert f"{runs} runs in {output}. No run: PixelVAE with 1, 4, 8, 12 layers" in result.stdout
        picture = np.asarray(Image.open(output).convert("L"))
        assert picture.min() < 50 and picture.max() == 255


def test_figures_without_any_run_are_not_drawn(tmp_path):
    missing = "No run: PixelVAE with 0, 1, 2, 4, 8, 12 layers"
    assert table(tmp_path, "figure5", {})[0].startswith(missing)
    output = tmp_path / "figure4.png"
    assert missing in error_line(reproduce(tmp_path, "figure4", f"--output={output}"))
    assert not output.exists()


def test_the_progress_of_the_best_row_is_drawn_of_the_runs_that_there_are(tmp_path):
    output = tmp_path / "progress.png"
    missing = "No run: mnist_best, mnist_adam, mnist_short, mnist_dropout_flow, mnist_flow, "
    missing += "mnist_augmented_longer_flow, mnist_augmented_flow."
    assert "No run: mnist_dropout, mnist_best, mnist_adam" in error_line(
        reproduce(tmp_path, "progress", f"--output={output}")
    )
    assert not output.exists()
    run = run_of("mnist", "test", images=MNIST)
    run["history"] = [{"step": step, "bound": 90.0 - step / 100, "kl_z1": 2.0} for step in (100, 200)]
    (tmp_path / "mnist_dropout.json").write_text(json.dumps(run))
    result = reproduce(tmp_path, "progress", f"--output={output}")
    assert (result.returncode, result.stdout) == (0, f"1 runs in {output}. {missing}\n"), result.stderr
    picture = np.asarray(Image.open(output).convert("L"))
    assert picture.min() < 50 and picture.max() == 255


def test_a_run_that_continues_another_is_drawn_after_it(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    from reproduction.progress import images_seen

    first = run_of("mnist", "test", images=MNIST)
    first["summary"]["best_step"] = 150
    second = run_of("mnist", "test", "--initialize_from=runs/first", images=MNIST)
    first["history"] = second["history"] = [{"step": 100}, {"step": 200}]
    assert images_seen(first, {}) == images_seen(second, {}) == [3200, 6400]
    assert images_seen(second, {"first": first}) == [4800 + 3200, 4800 + 6400]
    second["summary"]["best_step"] = 100
    third = run_of("mnist", "test", "--initialize_from=runs/second", images=MNIST)
    third["history"] = [{"step": 50}]
    assert images_seen(third, {"first": first, "second": second}) == [4800 + 3200 + 1600]
    # The mean of two that continue the same run has seen the images of the three.
    mean = run_of("mnist", "test", "--initialize_from=runs/second,runs/other", images=MNIST)
    mean["history"] = [{"step": 10}]
    assert images_seen(mean, {"first": first, "second": second, "other": second}) == [4800 + 2 * 3200 + 320]


@pytest.fixture
def pictures(monkeypatch):
    """The module that draws samples, with small models in place of the package's."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    from reproduction import pictures, records

    monkeypatch.setattr(pictures, "FIGURE_2", {"PixelCNN": ("mnist_pixelcnn",), "PixelVAE": ("small",)})
    monkeypatch.setattr(pictures, "FIGURE_6", ("lsun64", "small"))
    monkeypatch.setattr(pictures, "unlike", lambda config, flag_file: None)
    monkeypatch.setattr(pictures, "_COLUMNS", 3)
    return lambda name, folder, output: getattr(pictures, name)(records.Records(folder, folder), output, rows=2)


def test_figure_2_has_samples_where_there_is_a_model_and_says_where_not(pictures, tmp_path):
    workdirs.with_weights(tmp_path / "small")
    told = pictures("figure2", tmp_path, tmp_path / "a.png")
    assert "PixelCNN: no run of flags/mnist_pixelcnn.cfg" in told
    # Two headings of 18 pixels, and two rows of 8x8 images at eight times the size.
    assert np.asarray(Image.open(tmp_path / "a.png")).shape == (18 + 18 + 2 * 65 + 1, 3 * 65 + 1)


def test_figure_6_varies_one_level_in_each_part(pictures, tmp_path):
    workdirs.with_weights(tmp_path / "small")
    told = pictures("figure6", tmp_path, tmp_path / "a.png")
    assert told.startswith("small, step 7, in ")
    assert "no run of flags/lsun64.cfg" in told
    picture = np.asarray(Image.open(tmp_path / "a.png"))
    top, pixels = picture[18:149], picture[-131:]
    assert len(picture) == 3 * 18 + 2 * 131
    assert not np.array_equal(top, pixels)


def test_the_pretrained_mnist_serves_where_a_run_is_absent(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    from reproduction import pictures, records

    nowhere = records.Records(pathlib.Path("absent"), pathlib.Path("absent"))
    for names in (pictures.FIGURE_2["PixelVAE"], pictures.FIGURE_6):
        found, problems = pictures.trained(nowhere, names)
        assert "binarized_mnist_best, step" in found.label
        assert len(problems) == len(names) - 1
    assert pictures.trained(nowhere, pictures.FIGURE_2["VAE"]) == (None, ["no run of flags/mnist_vae.cfg"])
