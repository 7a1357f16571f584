"""The probe of latents: what it finds in features of known content, in digits, and what is made of its record."""

import json
import os

import numpy as np
import pytest
import workdirs
from commands import ROOT, error_line, tool
from PIL import Image

from pixelvae_tf import data, files
from pixelvae_tf.commandline.flags import configuration
from pixelvae_tf.config import DataConfig, RunConfig, TrainConfig
from pixelvae_tf.errors import UserError
from pixelvae_tf.evaluation import probing
from pixelvae_tf.evaluation.probing import Labelled, Splits
from pixelvae_tf.runs.workdir import Run


def splits_of(labels_mean: float, seed: int = 0) -> Splits:
    """Noise of four dimensions, with a class of three in the first ones."""
    rng, parts = np.random.default_rng(seed), []
    for count in (300, 90, 3000):
        labels = np.arange(count) % 3
        parts.append(Labelled(rng.normal(size=(count, 4)) + labels_mean * np.eye(3, 4)[labels], labels))
    return Splits(*parts)


def accuracies(rows):
    return {row["num_labels"]: [draw["test_accuracy"] for draw in row["draws"]] for row in rows}


def test_classes_far_apart_are_told_by_few_labels_and_noise_tells_nothing():
    found = accuracies(probing.measure(splits_of(100.0), [30], draws=3, seed=0))
    assert found == {30: [1.0, 1.0, 1.0], 300: [1.0]}
    for values in accuracies(probing.measure(splits_of(0.0), [30], draws=3, seed=0)).values():
        assert np.abs(np.array(values) - 1 / 3).max() < 0.05


def test_the_units_of_features_do_not_matter():
    splits = splits_of(2.0)
    scaled = Splits(*(part._replace(features=part.features * [1e-3, 1.0, 1e3, 1.0] + 5.0) for part in splits))
    first, second = (probing.measure(given, [30], draws=2, seed=0) for given in (splits, scaled))
    np.testing.assert_allclose(accuracies(first)[300], accuracies(second)[300], atol=0.003)
    assert 0.6 < accuracies(first)[300][0] < 1.0


def test_the_penalty_is_chosen_without_a_look_at_test():
    splits = splits_of(2.0)
    turned = splits._replace(test=splits.test._replace(labels=(splits.test.labels + 1) % 3))
    honest, other = probing.probe(splits), probing.probe(turned)
    assert honest["test_accuracy"] > 0.5 > other["test_accuracy"]
    for name in ("inverse_penalty", "validation_accuracy"):
        assert honest[name] == other[name]


def test_features_that_tell_nothing_have_one_place_in_the_picture_and_others_their_own():
    labels = np.arange(60) % 2
    alike = probing.picture(Labelled(np.full((60, 3), 0.7) + 1e-7 * np.random.normal(size=(60, 3)), labels))
    assert set(alike["x"]) == set(alike["y"]) == {0.0}
    apart = probing.picture(Labelled(10.0 * labels[:, None] + np.random.normal(size=(60, 3)), labels))
    assert apart["label"] == labels.tolist()
    places = np.stack([apart["x"], apart["y"]], axis=1)
    inside = np.median(np.linalg.norm(places[::2] - places[::2].mean(axis=0), axis=1))
    assert np.linalg.norm(places[::2].mean(axis=0) - places[1::2].mean(axis=0)) > inside


def test_draws_have_each_image_once_and_each_class_equally_often_and_follow_from_the_seed():
    labels = np.random.default_rng(0).permutation(np.repeat([3, 5, 7], [20, 40, 60]))
    first, again, other = (probing.balanced_draw(labels, 60, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert len(set(first)) == 60
    assert np.bincount(labels[first])[[3, 5, 7]].tolist() == [20, 20, 20]
    assert first.tolist() == again.tolist() != other.tolist()
    for count in (0, 50, 63):
        with pytest.raises(UserError, match=f"--labels={count}: give multiples of 3.*up to 60"):
            probing.balanced_draw(labels, count, np.random.default_rng(0))


def test_classes_of_the_digits_belong_to_their_images():
    from sklearn.datasets import load_digits

    scans, of_scans = load_digits(return_X_y=True)
    classes = dict(zip((scan.astype("uint8").tobytes() for scan in scans), of_scans, strict=True))
    images, labels = data.load_labelled(DataConfig(), "test")
    np.testing.assert_array_equal(images, data.load(DataConfig(), "test"))
    assert [classes[image.tobytes()] for image in images] == labels.tolist()


def test_labelled_images_are_binarised_by_their_intensities_once_for_all(monkeypatch):
    from pixelvae_tf.data import mnist

    grey = np.repeat(np.array([0, 51, 255], "uint8"), 5000).reshape(-1, 1, 1, 1)
    monkeypatch.setattr(mnist, "load", lambda config, split: grey)
    monkeypatch.setattr(mnist, "_read", lambda config, *_: np.zeros(len(grey)) if config.dataset == "mnist" else None)
    first, again, other = (
        data.load_labelled(DataConfig("binarized_mnist"), split)[0] for split in ("train", "train", "test")
    )
    assert first[:5000].max() == 0 and first[-5000:].min() == 1
    assert first[5000:10000].mean() == pytest.approx(0.2, abs=0.02)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(data.load_labelled(DataConfig("mnist"), "test")[0], grey)


@pytest.mark.skipif(
    not os.environ.get("PIXELVAE_TEST_TFDS_DIR"),
    reason="needs prepared mnist: set PIXELVAE_TEST_TFDS_DIR to its folder",
)
def test_labels_of_the_real_data_belong_to_its_images():
    images, labels = data.load_labelled(DataConfig("binarized_mnist", os.environ["PIXELVAE_TEST_TFDS_DIR"]), "test")
    assert (images.shape, labels.shape, images.max()) == ((10000, 28, 28, 1), (10000,), 1)
    ink = [images[labels == label].mean() for label in range(10)]
    assert (np.argmin(ink), np.argmax(ink)) == (1, 0)


FAST = ["--labels=20", "--draws=2"]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A finished run of digits, with weights."""
    run = Run(workdirs.with_weights(tmp_path_factory.mktemp("probe") / "run"))
    summary = {"steps": 7, "best_step": 7, "training_seconds": 60.0, "hardware": "2 CPU cores", "seed": 0}
    files.write_json(run.summary_file, summary)
    return run.workdir


def test_the_seed_repeats_what_is_found():
    first, again, other = (probing.measure(splits_of(1.0), [30], draws=3, seed=seed) for seed in (5, 5, 6))
    assert first == again != other


def test_latents_of_a_model_and_pixels_are_probed_by_command(workdir, tmp_path):
    records = {}
    asked = {"model": [f"--workdir={workdir}"], "pixels": ["--dataset=digits"]}
    for name, flags in asked.items():
        output = tmp_path / f"{name}.json"
        result = tool("probe", *flags, *FAST, "--components=2", f"--output={output}")
        assert (result.returncode, result.stderr) == (0, "")
        assert "20 labels: " in result.stdout
        records[name] = json.loads(output.read_text())
    model, pixels = records["model"], records["pixels"]
    assert (model["checkpoint_step"], len(model["kl_nats"]), model["bound_images"]) == (7, 1, 300)
    found = {(row["features"], row["dimensions"], row["num_labels"]): len(row["draws"]) for row in model["rows"]}
    assert found == {(name, 2, count): draws for name in ("sample", "means") for count, draws in ((20, 2), (1297, 1))}
    assert {(row["features"], row["dimensions"]) for row in pixels["rows"]} == {
        ("pixels", 64),
        ("principal components", 2),
    }
    # Scans are easily told by their pixels.
    assert accuracies(pixels["rows"][:2])[1297][0] > 0.9
    assert len(model["picture"]["x"]) == len(model["picture"]["y"]) == len(model["picture"]["label"]) == 300


def test_what_cannot_be_probed_ends_with_one_line(workdir, tmp_path, monkeypatch):
    for name in ("http_proxy", "https_proxy"):  # nothing to download from
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    without = Run(tmp_path / "without")
    changed = workdirs.DIGITS.to_dict() | {"latent_channels": ()}
    without.claim(RunConfig.from_dict({"model": changed, "data": {}, "training": {}}))
    files.write_json(without.summary_file, {"best_step": 7})
    output = f"--output={tmp_path / 'a.json'}"
    wrong = {
        "neither model nor data": ([output], ["--workdir", "--pretrained"]),
        "no output": ([f"--workdir={workdir}"], ["--output is empty"]),
        "no latents": ([f"--workdir={without.workdir}", output], ["no latents", "PixelVAE"]),
        "no classes": (["--dataset=imagenet64", f"--data_dir={tmp_path}", output], ["imagenet64"]),
        "another shape": ([f"--workdir={workdir}", "--dataset=mnist", output], ["--dataset=mnist", "28", "8"]),
        "no data": (["--dataset=binarized_mnist", f"--data_dir={tmp_path}", output], ["mnist", "--data_dir"]),
        "uneven draws": ([f"--workdir={workdir}", "--labels=25", output], ["--labels=25", "multiples of 10"]),
        "no number": ([f"--workdir={workdir}", "--labels=ten", output], ["labels", "ten"]),
    }
    for flags, expected in wrong.values():
        line = error_line(tool("probe", *flags))
        assert all(part in line for part in expected), line
    assert not (tmp_path / "a.json").exists()


def test_a_dataset_without_classes_is_answered_with_those_that_have_them():
    with pytest.raises(data.DataError, match="--dataset=image_folder.*binarized_mnist, digits, mnist"):
        data.load_labelled(DataConfig("image_folder"), "test")


def record_of(flag_file: str, accuracy: float) -> dict:
    config = configuration(ROOT / "flags" / f"{flag_file}.cfg", [], (28, 28, 1), 2)
    draws = [{"test_accuracy": accuracy + change, "converged": change > 0} for change in (-0.01, 0.01)]
    summary = {"steps": 1500, "training_seconds": 60.0, "hardware": "2 CPU cores", "seed": 0}
    return {
        "config": RunConfig(config.model, config.data, TrainConfig()).to_dict(),
        "summary": summary,
        "kl_nats": [12.3],
        "rows": [{"features": "means", "dimensions": 16, "num_labels": 100, "draws": draws}],
        "picture": {"x": [0.0, 1.0, 2.0], "y": [2.0, 1.0, 0.0], "label": [0, 1, 9]},
    }


def test_the_records_make_table_and_picture_without_a_run_and_say_what_is_missing(tmp_path):
    asked = [f"--results={tmp_path}", f"--runs={tmp_path / 'runs'}"]
    assert "nothing to draw" in error_line(tool("reproduce", "latents", *asked, f"--output={tmp_path / 'a.png'}"))
    files.write_json(tmp_path / "probe_mnist_vae.json", record_of("mnist_vae", 0.5))
    files.write_json(tmp_path / "probe_mnist_pixelvae.json", record_of("mnist_gated_pixelvae", 0.5))
    lines = tool("reproduce", "probe", *asked).stdout.splitlines()
    assert lines[2].startswith("| VAE | 12.3 | means of q(z given x) | 16 | 50.0 ± 1.4 | 1,500 steps of ")
    assert "`probe_mnist_pixelvae` is not flags/mnist_pixelvae.cfg" in lines[3]
    assert "| no run |" in lines[4]
    assert lines[-1] == "1 of 2 fits ended at their limit of iterations."
    result = tool("reproduce", "latents", *asked, f"--output={tmp_path / 'a.png'}")
    assert result.returncode == 0, result.stderr
    assert "1 pictures in " in result.stdout and "gated PixelVAE: no run" in result.stdout
    colours = {tuple(colour) for colour in np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).reshape(-1, 3)}
    assert {(31, 119, 180), (255, 127, 14), (23, 190, 207)} <= colours
