"""Models that several tests share: hierarchies of latents, and the networks of the flag files made narrow."""

import dataclasses

import numpy as np
import tiny
from commands import ROOT

from pixelvae_tf import ModelConfig, PixelVAE
from pixelvae_tf.commandline.flags import configuration

# 2x4 binary images; z1 in maps of 2x4, z2 in maps of 1x2, z3 a vector.
THREE_LEVELS = ModelConfig(
    image_shape=(2, 4, 1),
    pixel_levels=2,
    network="residual",
    latent_channels=(1, 1, 1),
    latent_strides=(1, 2, 0),
    latent_scale="softsign",
    conditioning="maps",
    encoder_channels=(6, 8),
    upsampling_channels=(6, 8),
    pixelcnn_layers=2,
    pixelcnn_channels=6,
    latent_pixelcnn_layers=2,
    latent_pixelcnn_channels=6,
    first_kernel_size=3,
    kernel_size=3,
    output_layers=0,
    weight_normalization=False,
)
COLOR = dataclasses.replace(
    THREE_LEVELS, image_shape=(2, 2, 3), pixel_levels=2, embedding_channels=2, latent_channels=(2, 2, 2)
)
VARIANTS = {
    "three levels": {},
    "two levels": {"latent_channels": (2, 3), "latent_strides": (2, 0)},
    "two levels of maps": {"latent_channels": (2, 3), "latent_strides": (1, 2)},
    "one level": {"latent_channels": (3,), "latent_strides": (0,)},
    "one level of maps": {"latent_channels": (3,), "latent_strides": (2,)},
    "no level": {"latent_channels": (), "latent_strides": ()},
    "masked residual blocks": {"masked_blocks": "residual"},
    "Gaussian prior": {"latent_pixelcnn_layers": 0},
    "log scales": {"latent_scale": "exp"},
    "no batch normalization": {"batch_normalization": False},
    "weight normalization": {"weight_normalization": True},
}
_SHAPES = {"digits": ((8, 8, 1), 17), "binarized_mnist": ((28, 28, 1), 2), "mnist": ((28, 28, 1), 256)}


def model(config=THREE_LEVELS, **changes) -> PixelVAE:
    """A model whose weights are some way from where they start."""
    return tiny.model(config, gain=1.0, **changes)


def some_images(config, count: int) -> np.ndarray:
    """Random images as a model takes them, (count, height, width, colors) uint8."""
    return np.random.default_rng(0).integers(config.pixel_levels, size=(count, *config.image_shape)).astype("uint8")


def flag_file_config(path) -> ModelConfig:
    """A flag file's network, over the images of its dataset."""
    data = configuration(path, [], (64, 64, 3), 256).data
    side = data.image_size or 64
    shape, levels = _SHAPES.get(data.dataset, ((side, side, 3), 256))
    return configuration(path, [], shape, levels).model


def narrow_config(path) -> ModelConfig:
    """A flag file's network with few feature maps."""
    config = flag_file_config(path)
    return dataclasses.replace(
        config,
        latent_channels=(3,) * config.num_levels,
        encoder_channels=(4,) * len(config.encoder_channels),
        upsampling_channels=(4,) * len(config.upsampling_channels),
        pixelcnn_channels=6,
        latent_pixelcnn_channels=6,
        embedding_channels=min(config.embedding_channels, 2),
    )


# Without those that hold shared values alone.
FLAG_FILES = [path for path in sorted((ROOT / "flags").glob("*.cfg"), reverse=True) if not path.stem.endswith("_base")]
# Files that differ in width alone are one.
NARROW = {narrow_config(path): path.stem for path in FLAG_FILES}
