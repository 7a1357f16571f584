"""Models that several tests share: hierarchies of latents, and the networks of the flag files made narrow."""

import dataclasses

import numpy as np
import pytest
import tiny
from commands import ROOT

from pixelvae_tf import ModelConfig, PixelVAE
from pixelvae_tf.commandline.flags import configuration

# 3x4 images of three levels with a learned prior: what an export is tested with.
SERVED = dataclasses.replace(
    tiny.LEAST,
    image_shape=(3, 4, 1),
    pixel_levels=3,
    latent_channels=(2,),
    prior="flow",
    prior_couplings=2,
    prior_layers=1,
    prior_channels=8,
)
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


def shared_model(config=THREE_LEVELS, **changes) -> PixelVAE:
    """The same to read alone: see `tiny.shared_model`."""
    return tiny.shared_model(config, gain=1.0, **changes)


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


def in_small(config: ModelConfig) -> ModelConfig:
    """The network of a flag file over small images, and no deeper than two layers."""
    if config.network == "residual":
        # As few resolutions as leave the maps of latents two positions wide.
        resolutions = max(3, max(config.latent_strides, default=0).bit_length() + 1)
        encoder, upsampler = config.encoder_channels[:resolutions], config.upsampling_channels[:resolutions]
    else:
        resolutions, encoder, upsampler = 3, config.encoder_channels, config.upsampling_channels
    side = 2 ** (resolutions - 1)
    return dataclasses.replace(
        config,
        image_shape=(side, side, config.image_shape[-1]),
        encoder_channels=encoder,
        upsampling_channels=upsampler,
        pixelcnn_layers=min(config.pixelcnn_layers, 2),
        latent_pixelcnn_layers=min(config.latent_pixelcnn_layers, 1),
        residual_blocks=min(config.residual_blocks, 1),
        prior_couplings=min(config.prior_couplings, 2),
        prior_channels=min(config.prior_channels, 8),
    )


# Without those that hold shared values alone.
FLAG_FILES = [path for path in sorted((ROOT / "flags").glob("*.cfg"), reverse=True) if not path.stem.endswith("_base")]
# Files that differ in width alone are one.
NARROW = {narrow_config(path): path.stem for path in FLAG_FILES}
SMALL = {in_small(config): name for config, name in NARROW.items()}


def of_every_kind(configs: dict[ModelConfig, str]) -> list[str]:
    """Names of a few of the networks, among which is every value of every setting that the networks choose by name.

    Sizes are no such settings, but whether there is anything of that size is.
    """
    kinds = {
        name: {
            (field.name, value if isinstance(value, str | bool) else bool(value))
            for field in dataclasses.fields(config)
            for value in (getattr(config, field.name),)
        }
        | {("levels", config.num_levels), ("colors", config.image_shape[-1])}
        for config, name in configs.items()
    }
    wanted, chosen = set.union(*kinds.values()), []
    while wanted:
        chosen.append(max(kinds, key=lambda name: len(kinds[name] & wanted)))
        wanted -= kinds[chosen[-1]]
    return chosen


def few(names, in_every_run) -> list:
    """Parameters of a test: all the names, of which `make test` takes some and `make exhaustive` the others."""
    names, in_every_run = list(names), set(in_every_run)
    assert in_every_run <= set(names), in_every_run - set(names)
    return [name if name in in_every_run else pytest.param(name, marks=pytest.mark.exhaustive) for name in names]
