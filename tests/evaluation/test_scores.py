"""Scores of single images: every image once and in order, from a split or a folder, and what they tell apart."""

import csv
import json

import numpy as np
import pytest
import tiny
import workdirs
from commands import error_line, run, tool
from PIL import Image

from pixelvae_tf import data
from pixelvae_tf.config import DataConfig
from pixelvae_tf.data.digits import load
from pixelvae_tf.evaluation import scores
from pixelvae_tf.evaluation.likelihood import evaluate
from pixelvae_tf.evaluation.pictures import as_bytes
from pixelvae_tf.files import FileError

IMAGES = tiny.all_images(tiny.BINARY)[:50]
NAMES = ["a.png", "with, comma.png", 'with "quotes".png', "with\nnewline.png", "ü/é.png", "bytes\udcff.png"]


def batches(size):
    return (IMAGES[start : start + size] for start in range(0, len(IMAGES), size))


@pytest.mark.parametrize("batch_size", [1, 7, 50])
def test_without_latents_every_image_has_its_exact_score_whatever_the_batch_size(batch_size):
    model = tiny.shared_model(latent_channels=())
    found = evaluate(model, batches(batch_size), importance_samples=3)
    columns = found.per_example()
    np.testing.assert_allclose(columns[scores.BOUND], -model.elbo(IMAGES).elbo, rtol=1e-5)
    np.testing.assert_allclose(columns[scores.IMPORTANCE], columns[scores.BOUND], rtol=1e-5)
    assert found.summary()["num_examples"] == 50
    assert found.summary()["kl_nats"] == []


def test_the_seed_repeats_the_scores_and_another_batch_size_changes_their_noise_alone():
    model = tiny.shared_model(gain=1.0)
    first, again, other = (evaluate(model, batches(size), importance_samples=200, seed=3) for size in (20, 20, 50))
    np.testing.assert_array_equal(first.bound, again.bound)
    np.testing.assert_array_equal(first.importance, again.importance)
    assert not np.array_equal(first.bound, other.bound)
    np.testing.assert_allclose(first.importance, other.importance, atol=0.5)
    # Far less than what tells the images apart.
    assert np.corrcoef(first.importance, other.importance)[0, 1] > 0.99


def test_the_summary_is_the_mean_of_the_scores():
    found = evaluate(tiny.shared_model(), batches(20), importance_samples=2)
    columns, summary = found.per_example(), found.summary()
    assert summary["nll_bound_nats"] == pytest.approx(columns[scores.BOUND].mean())
    assert summary["nll_importance_nats"] == pytest.approx(columns[scores.IMPORTANCE].mean())
    assert summary["bits_per_dim"] == pytest.approx(columns[scores.BITS].mean())
    np.testing.assert_allclose(found.reconstruction + sum(found.kl), columns[scores.BOUND], rtol=1e-6)
    assert list(evaluate(tiny.shared_model(), batches(20)).per_example()) == [scores.BOUND, scores.BITS]


def test_scores_are_read_as_they_were_written_whatever_the_names(tmp_path):
    columns = {name: np.random.default_rng(0).normal(size=6) for name in (scores.BOUND, scores.BITS)}
    path = tmp_path / "scores.csv"
    scores.write(path, iter([*NAMES, "one more"]), columns)
    found = scores.read(path)
    assert found.keys() == columns.keys()
    for name, values in columns.items():
        np.testing.assert_array_equal(found[name], values)
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        assert [row["image"] for row in csv.DictReader(file)] == NAMES


def test_a_file_of_scores_is_written_whole_or_left_as_it_was(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("mine")
    with pytest.raises(ValueError):
        scores.write(path, ["only one name"], {scores.BOUND: np.zeros(3)})
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("", "no column"),
        ("image,nll_bound_nats\n", "no images"),
        ("a,b\n1,2\n", "no column nll_bound_nats"),
        ("image,nll_bound_nats\na.png,high\n", "high"),
        ("image,nll_bound_nats\na.png\n", "not a file of scores"),
        ("\0", "scores.csv"),
    ],
)
def test_what_is_no_file_of_scores_is_named(content, message, tmp_path):
    path = tmp_path / "scores.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(FileError, match=message) as error:
        scores.read(path)
    assert str(path) in str(error.value)


def test_images_of_a_folder_are_called_by_their_paths_and_others_by_their_numbers(tmp_path):
    for split, count in (("train", 3), ("validation", 2)):
        (tmp_path / split).mkdir()
        for index in range(count):
            Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / split / f"{index}.png")
    folder = DataConfig("image_folder", str(tmp_path), image_size=4)
    assert list(data.image_names(folder, "train")) == ["train/0.png", "train/1.png", "train/2.png"]
    assert [name for _, name in zip(range(3), data.image_names(DataConfig(), "test"), strict=False)] == ["0", "1", "2"]


@pytest.fixture
def workdir(tmp_path):
    return workdirs.with_weights(tmp_path / "run")


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_of_the_images_of_a_split_has_the_scores_of_the_split(workdir, tmp_path):
    (tmp_path / "images").mkdir()
    for index, image in enumerate(load(DataConfig(), "test")[:30]):
        Image.fromarray(as_bytes(image[..., 0], 17)).save(tmp_path / "images" / f"{index:02d}.png")
    asked = {"split": ["--split=test", "--max_examples=30"], "folder": [f"--input={tmp_path / 'images'}"]}
    rows, records = {}, {}
    for name, flags in asked.items():
        path = tmp_path / f"{name}.csv"
        result = run(
            "evaluate",
            f"--workdir={workdir}",
            *flags,
            f"--per_example_csv={path}",
            "--batch_size=8",
            "--importance_samples=2",
        )
        assert (result.returncode, result.stderr) == (0, "")
        rows[name], records[name] = rows_of(path), json.loads(result.stdout)
        assert json.loads(scores.summary_file(path).read_text()) == records[name]
    assert [row.pop("image") for row in rows["split"]] == [str(index) for index in range(30)]
    assert [row.pop("image") for row in rows["folder"]] == [f"{index:02d}.png" for index in range(30)]
    assert rows["folder"] == rows["split"]
    bounds = [float(row["nll_bound_nats"]) for row in rows["split"]]
    assert len(set(bounds)) == 30
    assert records["split"]["nll_bound_nats"] == pytest.approx(np.mean(bounds))
    assert records["folder"]["input"] == str(tmp_path / "images")
    # What was kept of the split stays.
    assert json.loads((workdir / "eval_test.json").read_text()) == records["split"]
    assert len(list(workdir.glob("eval_*.json"))) == 1


WRONG = {
    "images that are not there": (["--input=absent"], ["--input=absent"]),
    "images and a split": (["--input=images", "--split=test"], ["--input", "--split"]),
    "scores to a folder that does not exist": (["--input=images", "--per_example_csv=no/a.csv"], ["no", "exist"]),
    "scores without a name": (["--per_example_csv="], ["--per_example_csv is empty"]),
    "an unreadable image": (["--input=images"], ["images/bad.png", "no readable image"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_scored_ends_with_one_line_and_leaves_all_as_it_was(case, workdir, tmp_path):
    flags, expected = WRONG[case]
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "images" / "a.png")
    (tmp_path / "images" / "bad.png").write_bytes(b"no image")
    (tmp_path / "scores.csv").write_text("mine")
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    line = error_line(run("evaluate", f"--workdir={workdir}", "--per_example_csv=scores.csv", *flags, cwd=tmp_path))
    for part in expected:
        assert part in line
    assert before == {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}


def write_scores(path, bounds, importance=None):
    columns = {scores.BOUND: np.asarray(bounds, float)}
    if importance is not None:
        columns[scores.IMPORTANCE] = np.asarray(importance, float)
    scores.write(path, map(str, range(len(bounds))), columns)
    return path


def test_the_area_is_the_share_of_pairs_in_which_the_foreign_image_is_less_likely(tmp_path):
    normal = write_scores(tmp_path / "normal.csv", [1, 2, 3, 4], [1, 2, 3, 4])
    other = write_scores(tmp_path / "other.csv", [2.5, 5], [0, 0])
    likelier = write_scores(tmp_path / "likelier.csv", [0, 0.5])
    result = tool("anomaly", f"--normal={normal}", f"--foreign={other},{likelier}", f"--output={tmp_path / 'out.json'}")
    assert (result.returncode, result.stderr) == (0, "")
    record = json.loads(result.stdout)
    assert record == json.loads((tmp_path / "out.json").read_text())
    first, second = record["foreign"]
    assert (first["name"], first["num_images"], first["auc_bound"]) == ("other", 2, 0.75)
    assert first["auc_importance"] == 0.0
    assert second["auc_bound"] == 0.0
    assert (first["likelier_than_all_normal"], second["likelier_than_all_normal"]) == (0.0, 1.0)
    assert "auc_importance" not in second
    assert record["normal"]["mean_bound_nats"] == 2.5


def test_scores_that_are_not_there_are_named(tmp_path):
    normal = write_scores(tmp_path / "normal.csv", [1, 2])
    assert "--foreign" in error_line(tool("anomaly", f"--normal={normal}"))
    assert "absent.csv" in error_line(tool("anomaly", f"--normal={normal}", f"--foreign={tmp_path / 'absent.csv'}"))


@pytest.mark.parametrize("kind", ["upside_down", "photographs"])
def test_foreign_images_are_of_the_size_and_the_levels_of_the_dataset(kind, tmp_path):
    output = tmp_path / "foreign"
    asked = [f"--kind={kind}", f"--output={output}", "--max_examples=20"]
    result = tool("foreign_images", *asked)
    assert (result.returncode, result.stderr) == (0, "")
    paths = sorted(output.iterdir())
    assert len(paths) == 20
    found = np.stack([np.asarray(Image.open(path)) for path in paths])
    digits = load(DataConfig(), "test")[:20, ..., 0]
    if kind == "upside_down":
        np.testing.assert_array_equal(found, as_bytes(digits[:, ::-1, ::-1], 17))
    else:
        assert set(np.unique(found)) <= set(as_bytes(np.arange(17), 17))
        assert len(np.unique(found, axis=0)) > 10
    assert "exists" in error_line(tool("foreign_images", *asked))
    assert sorted(output.iterdir()) == paths
