"""Codes: images of given latents, and images between two images."""

import dataclasses

import models
import numpy as np
import pytest
import tiny
import workdirs
from commands import error_line, run
from PIL import Image

import pixelvae_tf
from pixelvae_tf import DataConfig
from pixelvae_tf.data.digits import load
from pixelvae_tf.errors import UserError
from pixelvae_tf.evaluation import pictures
from pixelvae_tf.sampling.interpolation import points_between
from pixelvae_tf.sampling.noise import SamplingNoise, draw_noise

FLOW = dataclasses.replace(tiny.BINARY, latent_channels=(4,), prior="flow", prior_channels=8)
MODELS = {"a flow": lambda: tiny.shared_model(FLOW), "three levels": models.shared_model}
every_model = pytest.mark.parametrize("name", MODELS)


@every_model
def test_decoded_samples_of_the_posterior_are_the_reconstruction_of_the_same_seed(name):
    model = MODELS[name]()
    images = models.some_images(model.config, 20)
    codes = model.encode(images, seed=3)
    decoded = model.decode(codes.sample, seed=3)
    np.testing.assert_array_equal(decoded, model.reconstruct(images, seed=3))
    # The pixels depend on z1 alone.
    np.testing.assert_array_equal(decoded, model.decode(codes.sample[0], seed=3))
    assert not np.array_equal(decoded, model.decode(codes.sample, seed=4))


def test_from_a_level_above_the_ones_below_are_drawn_as_in_a_sample():
    model = models.shared_model()
    z1, z2, z3 = (level.numpy() for level in draw_noise(model.config, 30, seed=5).latents)
    drawn = model.decode([None, None, z3], seed=5)
    np.testing.assert_array_equal(drawn, model.sample(30, seed=5))
    # A given z2 leaves nothing for z3 to say, and a temperature of z3 nothing to do.
    given = model.decode([None, z2, None], seed=5)
    np.testing.assert_array_equal(given, model.decode((None, z2, z3), seed=5, temperature=(1, 1, 1, 0.1)))
    assert not np.array_equal(given, model.decode([None, z2, None], seed=5, temperature=(1, 0.1, 1, 1)))


def test_with_the_same_noise_images_differ_in_their_latents_alone():
    model = tiny.shared_model(FLOW)
    z = np.repeat(np.random.default_rng(0).normal(size=(2, 4)), 30, axis=0)
    same = model.decode(z, seed=1, same_noise=True)
    assert (same[:30] == same[0]).all() and (same[30:] == same[30]).all()
    assert len(np.unique(model.decode(z, seed=1)[:30], axis=0)) > 1
    # It is the noise of one image.
    np.testing.assert_array_equal(same[:1], model.decode(z[:1], seed=1))


@every_model
def test_the_prior_makes_the_latents_of_their_noise(name):
    model = MODELS[name]()
    latents = model.encode(models.some_images(model.config, 9), seed=0).sample
    noise = model.graphs.noise_of(latents)
    z = latents[-1]
    for prior, level_noise, found in zip(model.priors(latents), noise, latents, strict=True):
        np.testing.assert_allclose(prior.sample(level_noise), found, atol=1e-5)
    assert (name == "three levels") == np.array_equal(noise[-1], z)


@every_model
@pytest.mark.parametrize("path", ["sphere", "line"])
def test_the_ends_of_an_interpolation_are_the_images_decoded_at_the_means_of_their_posteriors(name, path):
    model = MODELS[name]()
    images = models.some_images(model.config, 12)
    given = images[:6], images[6:]
    between = model.interpolate(*given, steps=4, seed=2, path=path)
    assert between.shape == (6, 4, *model.config.image_shape) and between.dtype == np.uint8
    for index, end in ((0, given[0]), (-1, given[1])):
        np.testing.assert_array_equal(between[:, index], model.decode(model.encode(end).mean, seed=2))
    # An image leads nowhere to itself, since the noise of the pixels stays.
    still = model.interpolate(given[0], given[0], steps=3, seed=2)
    assert (still == still[:, :1]).all()
    assert (between != between[:, :1]).any()


def test_a_level_that_stays_has_the_noise_of_the_first_image():
    model = models.shared_model()
    images = models.some_images(model.config, 80)
    pair = images[:40], images[40:]
    first, second = (model.graphs.noise_of(model.encode(given).mean) for given in pair)
    pixels = draw_noise(model.config, 40, seed=2).pixels
    ends = {"top": (*first[:2], second[2]), "middle": (*second[:2], first[2])}
    found = {vary: model.interpolate(*pair, steps=2, seed=2, vary=vary)[:, 1] for vary in ends}
    for vary, latents in ends.items():
        drawn = model.graphs.draw["cached"](SamplingNoise(latents, pixels), np.ones(4, "float32"))
        np.testing.assert_array_equal(found[vary], drawn, err_msg=vary)
    assert not np.array_equal(found["top"], found["middle"])


def test_points_on_the_sphere_turn_evenly_at_lengths_between_and_those_on_the_line_move_evenly():
    start, end = np.random.default_rng(0).normal(size=(2, 7, 3, 5)).astype("float32")
    end *= 2
    on_arc, on_line = (points_between(start, end, 6, path) for path in ("sphere", "line"))
    for points in (on_arc, on_line):
        np.testing.assert_array_equal(points[:, 0], start)
        np.testing.assert_array_equal(points[:, -1], end)
    flat = on_arc.reshape(7, 6, 15)
    lengths = np.linalg.norm(flat, axis=-1)
    np.testing.assert_allclose(np.diff(lengths, axis=1), np.repeat(np.diff(lengths[:, [0, -1]]) / 5, 5, 1), atol=1e-5)
    directions = flat / lengths[..., None]
    angles = np.arccos(np.sum(directions[:, 1:] * directions[:, :-1], axis=-1))
    np.testing.assert_allclose(angles, np.repeat(angles[:, :1], 5, axis=1), atol=1e-4)
    whole = np.arccos(np.sum(directions[:, 0] * directions[:, -1], axis=-1))
    np.testing.assert_allclose(angles.sum(axis=1), whole, atol=1e-4)
    np.testing.assert_allclose(np.diff(on_line, axis=1), np.repeat((end - start)[:, None] / 5, 5, axis=1), atol=1e-5)
    # Where there is no arc, or none before all others, the line.
    for other in (start, 3 * start, -start, 0 * start):
        straight = points_between(start, other, 5, "line")
        np.testing.assert_allclose(points_between(start, other, 5), straight, atol=1e-5)


IMAGES = np.zeros((2, 2, 4, 1), "uint8")
Z = [np.zeros((2, *shape), "float32") for shape in models.THREE_LEVELS.latent_shapes]
REFUSED = {
    "another number of levels": (lambda model: model.decode(Z[:2]), "z has 2 levels: this model has 3"),
    "no level": (lambda model: model.decode([None] * 3), "no level is given"),
    "latents of another shape": (lambda model: model.decode(Z[2]), r"z1 of shape \(2, 1\): .*\(batch, 2, 4, 1\)"),
    "a level of another shape": (lambda model: model.decode([None, None, Z[0]]), "z3 of shape"),
    "words": (lambda model: model.decode(np.full((1, 2, 4, 1), "a")), "z1 of type str"),
    "latents that are not finite": (lambda model: model.decode(Z[0] / np.float32(0)), "z1: has values that are not"),
    "levels of other batches": (lambda model: model.decode([Z[0], Z[1][:1], None]), "1 and 2 examples"),
    "another sampler": (lambda model: model.decode(Z, method="fast"), "method='fast'"),
    "other counts": (lambda model: model.interpolate(IMAGES, IMAGES[:1]), "are 2 and 1 images"),
    "one step": (lambda model: model.interpolate(IMAGES, IMAGES, steps=1), "steps=1: use 2 or more"),
    "another path": (lambda model: model.interpolate(IMAGES, IMAGES, path="arc"), "path='arc': choose"),
    "the pixels' noise": (lambda model: model.interpolate(IMAGES, IMAGES, vary="pixels"), "vary='pixels': .*all, top"),
    "temperatures of latents": (
        lambda model: model.interpolate(IMAGES, IMAGES, temperature=(1, 1, 1, 1)),
        "temperature=.*give one number",
    ),
}


@pytest.mark.filterwarnings("ignore:.*invalid value")
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_code_is_refused_in_one_line(case):
    call, message = REFUSED[case]
    with pytest.raises(UserError, match=message) as error:
        call(models.shared_model())
    assert "\n" not in str(error.value)


def test_a_model_without_latents_says_so():
    model = tiny.shared_model(latent_channels=())
    images = tiny.all_images(model.config)[:2]
    for name, call in {
        "decode": lambda: model.decode([]),
        "interpolate": lambda: model.interpolate(images, images),
    }.items():
        with pytest.raises(UserError, match=f"{name}: this model has no latents"):
            call()


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return workdirs.with_weights(tmp_path_factory.mktemp("codes") / "run")


def test_the_command_draws_the_same_from_files_and_from_a_split(workdir, tmp_path):
    images = np.asarray(load(DataConfig(), "test"))[[2, 0, 1]]
    paths = [tmp_path / f"{index}.png" for index in range(3)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(pictures.as_bytes(image[..., 0], 17)).save(path)
    model = pixelvae_tf.load(workdir)
    drawn = model.interpolate(images[:-1], images[1:], 5, seed=7, path="line")
    expected = pictures.interpolations(images[:-1], drawn, images[1:], 17)
    files = [f"--interpolate={','.join(map(str, paths))}"], ["--interpolate=2,0,1", "--split=test"]
    for number, given in enumerate(files):
        output = tmp_path / f"out{number}.png"
        flags = [f"--output={output}", "--seed=7", "--interpolation_steps=5", "--interpolation_path=line", *given]
        result = run("sample", f"--workdir={workdir}", *flags)
        assert result.returncode == 0, result.stderr
        assert f"2 x 5 images between 3 given ones in {output}" in result.stdout
        np.testing.assert_array_equal(np.asarray(Image.open(output)), expected[..., 0])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--interpolate=a.png,b.png"], "--interpolate: a.png is no file"),
        (["--interpolate=3", "--split=test"], "--interpolate=3: give two images or more"),
        (["--interpolate=3,b.png", "--split=test"], "'b.png' is no number of an image of --split=test"),
        (["--interpolate=3,4", "--split=test", "--num_samples=3"], "--num_samples: leave it out"),
        (["--split=test"], "--split: is for --interpolate"),
        (["--interpolate=0,300", "--split=test"], "there is no image 300; --split=test has 0 to 299"),
        (["--interpolate=0,1", "--split=test", "--vary=middle"], "--vary=middle: .* can vary all, top"),
    ],
)
def test_the_command_tells_in_one_line_what_it_cannot_interpolate(flags, message, workdir, tmp_path):
    line = error_line(run("sample", f"--workdir={workdir}", f"--output={tmp_path / 'a.png'}", *flags, cwd=tmp_path))
    assert message.split(".*")[0] in line and message.split(".*")[-1] in line
    assert not list(tmp_path.iterdir())
