"""Completion: which pixels are kept, what the others follow, how it is shown, and what cannot be completed."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tiny
import workdirs
from commands import error_line, run
from PIL import Image

from pixelvae_tf import PixelVAE
from pixelvae_tf.config import DataConfig
from pixelvae_tf.data.digits import load
from pixelvae_tf.errors import UserError
from pixelvae_tf.evaluation import pictures

IMAGES = tiny.all_images(tiny.BINARY)[5:25]
# Known pixels before, between and after unknown ones.
SCATTERED = np.array([[False, True, False], [False, True, True]])


@pytest.mark.parametrize("network", tiny.FEW_NETWORKS)
@pytest.mark.parametrize(
    "config", [pytest.param(tiny.BINARY, marks=pytest.mark.exhaustive), tiny.SMALL_COLOR], ids=["binary", "color"]
)
def test_a_completion_keeps_the_pixels_of_the_mask_in_all_colors_and_draws_the_others(config, network):
    model = tiny.shared_model(config, **tiny.NETWORKS[network])
    images = tiny.all_images(config)[::9]
    mask = np.array([True, False]) if config is tiny.SMALL_COLOR else SCATTERED
    mask = mask.reshape(config.image_shape[:2])
    kept = model.complete(images, mask=mask, seed=1) == images
    assert kept[:, mask].all()
    assert all(0 < kept[:, row, column].mean() < 1 for row, column in np.argwhere(~mask))


def test_every_image_may_have_a_mask_of_its_own():
    model = tiny.shared_model()
    masks = np.random.default_rng(0).random((len(IMAGES), 2, 3)) < 0.5
    completed = model.complete(IMAGES, mask=masks, seed=1)
    assert (completed == IMAGES)[masks].all()
    for index in (0, 7):
        # The noise of an image is of its place in the batch.
        same = model.complete(IMAGES, mask=masks[index], seed=1)[index]
        np.testing.assert_array_equal(completed[index], same)


def test_rows_to_keep_are_the_mask_of_these_rows():
    model = tiny.shared_model()
    for rows in range(3):
        mask = np.zeros((2, 3), bool)
        mask[:rows] = True
        by_rows, by_mask = model.complete(IMAGES, rows, seed=2), model.complete(IMAGES, mask=mask, seed=2)
        np.testing.assert_array_equal(by_rows, by_mask)


def test_a_completion_does_not_peek_at_the_pixels_that_it_replaces():
    model = tiny.shared_model()
    other = np.where(SCATTERED[..., None], IMAGES, 1 - IMAGES)
    completed = [model.complete(images, mask=SCATTERED, seed=4) for images in (IMAGES, other)]
    np.testing.assert_array_equal(*completed)


def test_known_pixels_after_unknown_ones_reach_them_through_the_latents_alone():
    first_row = np.array([[False] * 3, [True] * 3])
    other = IMAGES.copy()
    other[:, 1] = 1 - other[:, 1]
    for latents, reached in (((), False), ((2,), True)):
        model = tiny.shared_model(latent_channels=latents, conditioning="bias")
        drawn = [model.complete(images, mask=first_row, seed=3)[:, 0] for images in (IMAGES, other)]
        assert np.array_equal(*drawn) != reached


def test_completions_of_a_mask_have_the_probabilities_of_the_chain_of_their_pixels():
    model = tiny.shared_model(latent_channels=())
    images = tiny.all_images(model.config)
    given = images[37]
    agreeing = images[(images == given)[:, SCATTERED].all(axis=(1, 2))]
    log_prob = np.asarray(model.p_x_given_z1(agreeing, {}).log_prob(agreeing))[:, ~SCATTERED].sum(axis=(1, 2))
    probabilities = np.exp(log_prob.astype("float64"))
    assert len(agreeing) == 8
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-5)
    count = 4000
    drawn = model.complete(np.repeat(given[None], count, axis=0), mask=SCATTERED, seed=5)
    frequencies = [(drawn == image).all(axis=(1, 2, 3)).mean() for image in agreeing]
    assert sum(frequencies) == pytest.approx(1.0)
    errors = np.abs(frequencies - probabilities) / np.sqrt(probabilities * (1 - probabilities) / count)
    assert errors.max() < 4


class ExactPosterior:
    """p(z | x) of a model of independent black and white pixels with a one-dimensional z, on a grid."""

    z = np.linspace(-6.0, 6.0, 121, dtype="float32")[:, None]

    def __init__(self, images, log_black, log_white):
        pixels = tf.reshape(tf.cast(images, "float32"), (-1, log_white.shape[1]))
        log_joint = pixels @ log_white.T + (1.0 - pixels) @ log_black.T - self.z[:, 0] ** 2 / 2
        self.cumulative = tf.cumsum(tf.nn.softmax(log_joint), axis=1)

    def sample(self, noise):
        uniform = 0.5 + 0.5 * tf.math.erf(noise / np.sqrt(2.0).astype("float32"))
        index = tf.reduce_sum(tf.cast(self.cumulative < uniform, "int32"), axis=1)
        return tf.gather(self.z, tf.minimum(index, len(self.z) - 1))


def test_with_the_exact_posterior_refinements_lead_to_the_probabilities_given_the_known_pixels_alone(monkeypatch):
    model = tiny.model(pixelcnn_layers=0, conditioning="maps", gain=4.0, weight_normalization=True)
    black, white = np.zeros((1, 2, 3, 1), "uint8"), np.ones((1, 2, 3, 1), "uint8")
    logs = [
        np.asarray(
            model.p_x_given_z1(image.repeat(121, axis=0), model.pixel_decoder.condition(ExactPosterior.z)).log_prob(
                image
            )
        ).reshape(121, 6)
        for image in (black, white)
    ]
    monkeypatch.setattr(PixelVAE, "q_z_given_x", lambda self, images, label=None: [ExactPosterior(images, *logs)])
    white_below = tiny.all_images(model.config)[7::8]
    probabilities = np.exp(tiny.exact_log_likelihood(model, white_below))
    below = np.array([[False] * 3, [True] * 3])

    def distance(refinements):
        """Half the sum of the differences from the frequencies, which chance alone makes about 0.02."""
        drawn = model.complete(white.repeat(2000, axis=0), mask=below, refinements=refinements)
        frequencies = [(drawn == image).all(axis=(1, 2, 3)).mean() for image in white_below]
        return np.abs(frequencies - probabilities / probabilities.sum()).sum() / 2

    # A black upper half is taken for data at first.
    assert distance(0) > 0.3
    assert 0.1 < distance(1) < 0.3
    assert distance(10) < 0.05


def test_refinements_keep_the_known_pixels_and_change_nothing_without_latents():
    model = tiny.shared_model()
    once, refined = (model.complete(IMAGES, mask=SCATTERED, refinements=count) for count in (0, 1))
    assert (refined == IMAGES)[:, SCATTERED].all()
    assert not np.array_equal(once, refined)
    model = tiny.shared_model(latent_channels=())
    np.testing.assert_array_equal(*(model.complete(IMAGES, 1, refinements=count) for count in (0, 1)))


@pytest.mark.parametrize(
    "changes",
    [{}, {"latent_channels": ()}, {"pixelcnn_layers": 0, "conditioning": "maps"}],
    ids=["one level", "no latents", "independent pixels"],
)
def test_both_samplers_complete_a_mask_alike(changes):
    model = tiny.shared_model(dataclasses.replace(tiny.COLOR, image_shape=(3, 4, 3), **changes))
    images = model.sample(6, seed=3)
    masks = np.random.default_rng(1).random((6, 3, 4)) < 0.5
    cached, naive = (
        model.complete(images, mask=masks, seed=4, temperature=0.7, method=method) for method in ("cached", "naive")
    )
    np.testing.assert_array_equal(cached, naive)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "keep_rows, mask: give one"),
        ({"keep_rows": 1, "mask": SCATTERED}, "keep_rows, mask: give one"),
        ({"keep_rows": 1, "refinements": -1}, "refinements=-1"),
        ({"keep_rows": 3}, "keep_rows=3: the images have 2 rows"),
        ({"keep_rows": 1, "temperature": (1, 2, 3)}, "3 temperatures.*or 2"),
        ({"mask": SCATTERED.T}, r"\(3, 2\).*\(2, 3\) or \(batch, 2, 3\)"),
        ({"mask": SCATTERED[None, None]}, r"\(1, 1, 2, 3\)"),
        ({"mask": SCATTERED.astype("uint8")}, "uint8.*bool"),
        ({"mask": np.stack([SCATTERED] * 3)}, r"\(3, 2, 3\): there are 20 images"),
    ],
)
def test_what_names_the_kept_pixels_wrongly_is_refused_in_one_line(given, message):
    # What a command line shows as one line.
    with pytest.raises(UserError, match=message) as error:
        tiny.shared_model().complete(IMAGES, **given)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("colors", [1, 3])
def test_the_picture_hatches_what_is_unknown_and_nothing_else(colors):
    rng = np.random.default_rng(0)
    given = rng.integers(4, size=(2, 32, 32, colors))
    drawn = rng.integers(4, size=(2, 3, 32, 32, colors))
    known = rng.random((1, 32, 32)) < 0.5
    picture = pictures.completions(given, known, drawn, pixel_levels=4)
    plain = pictures.grid(np.concatenate([given[:, None], drawn, given[:, None]], 1).reshape(-1, 32, 32, colors), 4, 5)
    heading = len(picture) - len(plain)
    assert heading > 0
    assert picture[:heading].max() == 255
    differs = (picture[heading:] != plain).any(axis=-1)
    for row in range(2):
        cell = differs[65 * row + 1 : 65 * row + 65, 1:65].reshape(32, 2, 32, 2).all(axis=(1, 3))
        np.testing.assert_array_equal(cell, ~known[0])
    assert not differs[:, 65:].any()
    # No grey image has these colors.
    assert (np.ptp(picture[heading:][differs].astype(int), axis=-1) > 0).all()


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return workdirs.with_weights(tmp_path_factory.mktemp("complete") / "run")


@pytest.fixture
def digits(tmp_path):
    """Two test digits as files, a folder deep."""
    (tmp_path / "images" / "deep").mkdir(parents=True)
    for name, image in zip(("a.png", "deep/b.png"), load(DataConfig(), "test"), strict=False):
        Image.fromarray(pictures.as_bytes(image[..., 0], 17)).save(tmp_path / "images" / name)
    return tmp_path / "images"


def test_rows_of_files_a_mask_of_files_and_a_split_give_the_same_picture(workdir, digits, tmp_path):
    mask = np.zeros((8, 8), np.uint8)
    mask[:3] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    asked = {
        "rows": [f"--input={digits}", "--keep_rows=3"],
        "mask": [f"--input={digits}", f"--mask={tmp_path / 'mask.png'}", "--method=naive"],
        "split": ["--split=test", "--num_images=2", "--keep_rows=3"],
    }
    drawn = {}
    for name, flags in asked.items():
        output = tmp_path / f"by_{name}.png"
        result = run("complete", f"--workdir={workdir}", *flags, "--num_samples=3", f"--output={output}")
        assert (result.returncode, result.stderr) == (0, "")
        assert "3 completions of each of 2 images" in result.stdout
        drawn[name] = np.asarray(Image.open(output))
    # Five columns: given, three completions, original.
    assert drawn["rows"].shape[1:] == (5 * 65 + 1, 3)
    np.testing.assert_array_equal(drawn["mask"], drawn["rows"])
    np.testing.assert_array_equal(drawn["split"], drawn["rows"])


WRONG = {
    "nothing kept by name": (["--input=a.png"], ["--keep_rows", "--mask"]),
    "rows and a mask": (["--input=a.png", "--keep_rows=1", "--mask=a.png"], ["--keep_rows", "--mask"]),
    "negative rows": (["--input=a.png", "--keep_rows=-1"], ["keep_rows"]),
    "no images": (["--keep_rows=1"], ["--input", "--split"]),
    "images and a split": (["--keep_rows=1", "--input=a.png", "--split=test"], ["--input", "--split"]),
    "a missing image": (["--keep_rows=1", "--input=absent.png"], ["--input=absent.png", "no such"]),
    "a folder without images": (["--keep_rows=1", "--input=empty"], ["--input=empty", "no images"]),
    "a temperature of zero": (["--keep_rows=1", "--input=a.png", "--temperature=0"], ["--temperature=0", "positive"]),
    "no completions": (["--keep_rows=1", "--input=a.png", "--num_samples=0"], ["num_samples"]),
    "no output": (["--keep_rows=1", "--input=a.png", "--output="], ["--output is empty"]),
    "an output folder that is missing": (["--keep_rows=1", "--input=a.png", "--output=no/b.png"], ["no", "exist"]),
    "an output over an image": (["--keep_rows=1", "--input=.", "--output=a.png"], ["--output=a.png", "input images"]),
    "a run without weights": (["--keep_rows=1", "--input=a.png", "--workdir=unfinished"], ["unfinished", "no weights"]),
    "too many rows": (["--keep_rows=9", "--input=a.png"], ["keep_rows=9", "8 rows"]),
    "an image of another size": (["--keep_rows=1", "--input=wide.png"], ["wide.png", "9 wide and 8 high", "8 and 8"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_completed_ends_with_one_line_and_writes_nothing(case, workdir, tmp_path):
    flags, expected = WRONG[case]
    (tmp_path / "empty").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(tmp_path / "wide.png")
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "config.json").write_bytes((workdir / "config.json").read_bytes())
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    line = error_line(run("complete", f"--workdir={workdir}", "--output=out.png", *flags, cwd=tmp_path))
    for part in expected:
        assert part in line
    assert before == {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
