"""A fresh model uses its latents: their signal is as strong as the pixels when the masked layers begin to learn.

Where it is not, the masked layers learn the images alone, and the latents are lost for good.
"""

import dataclasses

import keras
import models
import numpy as np
import pytest

from pixelvae_tf import PixelVAE

COUNT = 16


def fresh_models():
    """By flag file: the model as it is where that is small, else with fewer maps and images of at most 32x32."""
    for path in models.FLAG_FILES:
        config = models.flag_file_config(path)
        if not config.num_levels:
            continue
        if config.network == "residual":
            config = dataclasses.replace(
                config,
                image_shape=(32, 32, 3),
                latent_channels=tuple(min(channels, 16) for channels in config.latent_channels),
                encoder_channels=tuple(min(channels, 16) for channels in config.encoder_channels),
                upsampling_channels=tuple(min(channels, 16) for channels in config.upsampling_channels),
                pixelcnn_channels=24,
                latent_pixelcnn_channels=24,
            )
        yield config, path.stem


FRESH = dict(fresh_models())
BY_NAME = {name: config for config, name in FRESH.items()}


def blobs(config) -> np.ndarray:
    """Images of a bright ellipse on a dark ground, each at another place, (COUNT, height, width, colors) uint8."""
    generator = np.random.default_rng(0)
    height, width, colors = config.image_shape
    rows, columns = np.mgrid[:height, :width] / [[[height]], [[width]]]
    centers, radii = generator.uniform(0.3, 0.7, (2, COUNT, 1, 1)), generator.uniform(0.1, 0.3, (2, COUNT, 1, 1))
    inside = ((rows - centers[0]) / radii[0]) ** 2 + ((columns - centers[1]) / radii[1]) ** 2 < 1
    brightness = generator.uniform(0.7, 1.0, (COUNT, 1, 1, colors))
    return (inside[..., None] * brightness * (config.pixel_levels - 1)).round().astype("uint8")


def labels(config) -> dict:
    """The argument of a label for each of the images, if the model takes one."""
    return {"label": np.arange(COUNT) % config.num_classes} if config.num_classes else {}


def root_mean_square(array) -> float:
    return float(np.sqrt(np.mean(np.square(array))))


@pytest.fixture(scope="module", params=models.few(BY_NAME, models.of_every_kind(FRESH)))
def fresh(request):
    keras.utils.set_random_seed(0)
    return PixelVAE(BY_NAME[request.param])


def test_posterior_means_of_fresh_models_differ_between_images(fresh):
    encoding = fresh.encode(blobs(fresh.config), **labels(fresh.config))
    for mean, scale in zip(encoding.mean, encoding.scale, strict=True):
        assert (mean.std(axis=0) / scale.mean(axis=0)).mean() > 0.02


def test_another_z_changes_a_fresh_decoders_output_by_a_fifth_of_what_another_image_does(fresh):
    generator = np.random.default_rng(1)
    lower = blobs(fresh.config)
    decoders = [(fresh.pixel_decoder, fresh.pixel_input)]
    decoders += [(decoder, fresh.latent_features) for decoder in fresh.latent_decoders]
    for (decoder, features_of), shape in zip(decoders, fresh.config.latent_shapes, strict=True):
        z, other_z = generator.normal(size=(2, COUNT, *shape)).astype("float32")

        def outputs(lower, z, decoder=decoder, features_of=features_of):
            return np.asarray(decoder(features_of(lower), **decoder.condition(z, **labels(fresh.config))))

        first = outputs(lower, z)
        by_z = root_mean_square(outputs(lower, other_z) - first)
        by_lower = root_mean_square(outputs(np.roll(lower, 1, axis=0), z) - first)
        assert by_z > 0.2 * by_lower
        assert by_z > 1e-3
        lower = z


def test_no_two_layers_of_a_fresh_model_have_the_same_weights(fresh):
    kernels = [np.asarray(weight) for weight in fresh.trainable_variables if weight.name == "kernel"]
    kernels = [kernel for kernel in kernels if kernel.any()]  # The last layers of a flow start at zero.
    for index, kernel in enumerate(kernels):
        assert not any(np.array_equal(kernel, other) for other in kernels[:index])
