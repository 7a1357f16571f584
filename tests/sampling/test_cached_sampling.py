"""The cached sampler gives the naive sampler's images: for random networks, and for those of all flag files in small.

An image is the naive sampler's if redrawing every pixel, given all of them and the same uniforms, changes none: pixel
by pixel in raster order there is one such image. So one full pass checks what the naive sampler would take thousands
for, and the naive sampler itself is run on small images.
"""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tiny
from agreement import assert_same
from commands import error_line, run
from models import COLOR, NARROW, SMALL, VARIANTS, few, of_every_kind

from pixelvae_tf import ModelConfig
from pixelvae_tf.sampling import cached
from pixelvae_tf.sampling.cached import sample_latents_cached, sample_pixels_cached
from pixelvae_tf.sampling.naive import sample_pixels_naive
from pixelvae_tf.sampling.noise import draw_noise

COMPILED = pytest.mark.as_in_production
WHOLE = {name: config for config, name in NARROW.items() if name in ("digits", "mnist_pixelvae", "lsun32")}
BY_NAME = {name: config for config, name in SMALL.items()}


def random_config(generator: np.random.Generator) -> tuple[ModelConfig, int]:
    """A network over small images, and a batch size."""
    height, width = generator.choice([(1, 6), (6, 1), (3, 5), (5, 2), (4, 4)])
    colors, levels = int(generator.choice([1, 1, 2, 3])), int(generator.choice([2, 3, 7]))
    config = ModelConfig(
        image_shape=(int(height), int(width), colors),
        pixel_levels=levels,
        latent_channels=((), (3,))[generator.integers(2)],
        encoder_channels=(4,),
        upsampling_channels=(4,),
        conditioning=str(generator.choice(["bias", "maps"])),
        pixelcnn_layers=int(generator.integers(1, 5)),
        pixelcnn_channels=int(generator.integers(3, 9)),
        first_kernel_size=int(generator.choice([3, 5, 7])),
        kernel_size=int(generator.choice([3, 5])),
        activation=str(generator.choice(["gated", "relu"])),
        output_layers=int(generator.integers(3)),
        embedding_channels=int(generator.choice([0, 2])),
        weight_normalization=bool(generator.integers(2)),
    )
    batch_size, output = int(generator.choice([1, 2, 5])), str(generator.choice(["discrete", "logistics"]))
    return dataclasses.replace(config, output_distribution=output), batch_size


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(0, marks=COMPILED),
        *range(1, 4),
        *(pytest.param(seed, marks=(COMPILED, pytest.mark.exhaustive)) for seed in range(4, 40)),
    ],
)
def test_random_networks_over_images_of_any_shape_draw_the_images_of_the_naive_sampler(seed):
    config, batch_size = random_config(np.random.default_rng(seed))
    model = tiny.shared_model(config, gain=2.0 if config.activation == "gated" else 1.0)
    assert_same(model, batch_size, known_share=0.4 * (seed % 2), temperature=(1.0, 0.7)[seed % 3 == 0])


@pytest.mark.parametrize(
    "variant",
    [
        "three levels",
        pytest.param("two levels of maps", marks=(COMPILED, pytest.mark.exhaustive)),
        pytest.param("masked residual blocks", marks=pytest.mark.exhaustive),
        pytest.param("Gaussian prior", marks=COMPILED),
        pytest.param("log scales", marks=pytest.mark.exhaustive),
    ],
)
def test_hierarchies_draw_the_latents_and_the_images_of_the_naive_sampler(variant):
    assert_same(tiny.shared_model(COLOR, gain=1.0, **VARIANTS[variant]), batch_size=3)


@pytest.mark.parametrize("name", few(BY_NAME, of_every_kind(SMALL)))
def test_with_the_network_of_every_flag_file_redrawing_all_pixels_at_once_changes_none(name):
    assert_redrawn(BY_NAME[name])


@COMPILED
@pytest.mark.parametrize("name", few(WHOLE, []))
def test_so_it_is_at_the_size_and_depth_of_the_flag_file(name):
    assert_redrawn(WHOLE[name])


def assert_redrawn(config: ModelConfig) -> None:
    """Redrawing all pixels of cached samples at once changes none; the latents below others likewise."""
    model = tiny.shared_model(config, gain=1.5)
    noise = draw_noise(config, 2, seed=1)
    label = tf.constant([1, 0]) if config.num_classes else None

    @tf.function(autograph=False)
    def draw():
        z1 = sample_latents_cached(model, noise.latents, label)
        images = sample_pixels_cached(model, z1, noise.pixels, label=label)
        return z1, images, model.p_x_given_z1(images, model.pixel_decoder.condition(z1, label)).sample(noise.pixels)

    z1, images, redrawn = draw()
    np.testing.assert_array_equal(images, redrawn)
    assert len(np.unique(images)) > 1
    if config.num_levels > 1:
        z2 = noise.latents[1]
        np.testing.assert_allclose(
            model.p_z_given_upper(0, z1, model.latent_decoders[0].condition(z2, label)).sample(noise.latents[0]),
            z1,
            atol=1e-4,
        )


def test_the_methods_that_users_call_draw_the_same_images_with_both_samplers():
    model = tiny.shared_model(tiny.COLOR, image_shape=(3, 4, 3))
    images = model.sample(6, seed=3)
    for call in (
        lambda method: model.sample(6, seed=3, method=method),
        lambda method: model.sample(6, seed=3, temperature=(0.5, 2.0), method=method),
        lambda method: model.reconstruct(images, seed=4, method=method),
        lambda method: model.complete(images, 2, seed=4, temperature=0.5, method=method),
    ):
        np.testing.assert_array_equal(call("cached"), call("naive"))
    np.testing.assert_array_equal(model.complete(images, 2, seed=4)[:, :2], images[:, :2])


def test_parts_drawn_side_by_side_are_the_images_of_one_batch(monkeypatch):
    """Seven images divide evenly among none of these cores, and among 5 and 20 some would have none."""
    monkeypatch.setattr(cached, "_SMALLEST_PART", 1)
    drawn = []
    for parts in (1, 2, 5, 20):
        monkeypatch.setattr(cached, "cores", lambda parts=parts: parts)
        model = tiny.model(tiny.BINARY)
        drawn.append((model.sample(7, seed=1), model.complete(np.ones((7, *tiny.BINARY.image_shape), int), 1, seed=1)))
    for whole, *in_parts in zip(*drawn, strict=True):
        assert len(np.unique(whole.reshape(7, -1), axis=0)) > 1
        for images in in_parts:
            np.testing.assert_array_equal(images, whole)


def test_sampling_follows_the_weights_as_they_change():
    model = tiny.model()
    before = model.sample(8, seed=0)
    for variable in model.trainable_variables:
        variable.assign(-1.5 * variable)
    after = model.sample(8, seed=0)
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(after, model.sample(8, seed=0, method="naive"))


def test_near_temperature_zero_every_pixel_is_the_likeliest_given_those_before():
    model = tiny.shared_model(tiny.COLOR)
    noise = draw_noise(model.config, 5, seed=1)
    images = sample_pixels_cached(model, noise.latents[0], noise.pixels, temperature=1e-4)
    logits = model.p_x_given_z1(images, model.pixel_decoder.condition(noise.latents[0])).logits
    np.testing.assert_array_equal(images, np.argmax(logits, axis=-1))


def test_a_level_of_latents_near_temperature_zero_is_its_mean():
    model = tiny.shared_model()
    cold = model.sample(40, seed=1, temperature=(1.0, 1e-6))
    z1 = tf.zeros((40, 1))
    expected = sample_pixels_naive(model, z1, draw_noise(model.config, 40, seed=1).pixels)
    np.testing.assert_array_equal(cold, expected)
    assert not np.array_equal(cold, model.sample(40, seed=1))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf"), (1.0, 1.0, 1.0), (1.0, 0.0)])
def test_a_temperature_that_is_not_positive_or_one_too_many_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature"):
        tiny.shared_model().sample(1, temperature=temperature)


def test_an_unknown_method_is_refused_by_name():
    with pytest.raises(ValueError, match="'fast'.*cached, naive"):
        tiny.shared_model().sample(1, method="fast")


@pytest.mark.parametrize("temperature", ["0", "-1", "warm", "nan", "1,0", ""])
def test_the_command_refuses_such_a_temperature_in_one_line(temperature):
    assert "--temperature" in error_line(run("sample", f"--temperature={temperature}"))
