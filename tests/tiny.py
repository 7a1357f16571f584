"""Models so small that all of their images can be enumerated."""

import dataclasses
import functools
import zlib

import modes
import numpy as np
import tensorflow as tf
from seeds import set_seeds

from pixelvae_tf import ModelConfig, PixelVAE
from pixelvae_tf.probability import objectives

# 64 images. Weight normalization, which graphs take a quarter longer to trace with, has tests of its own.
BINARY = ModelConfig(
    image_shape=(2, 3, 1),
    pixel_levels=2,
    latent_channels=(1,),
    encoder_channels=(16,),
    upsampling_channels=(16,),
    pixelcnn_layers=2,
    pixelcnn_channels=8,
    first_kernel_size=3,
    kernel_size=3,
    output_layers=1,
    weight_normalization=False,
)
# Of the same images, for tests of all that trains a network or writes it, whatever network it is.
LEAST = dataclasses.replace(BINARY, pixelcnn_layers=1, output_layers=0)
# 531,441 images.
COLOR = dataclasses.replace(BINARY, image_shape=(2, 2, 3), pixel_levels=3, embedding_channels=2, pixelcnn_channels=6)
# 729 images.
SMALL_COLOR = dataclasses.replace(COLOR, image_shape=(1, 2, 3))
# Networks by how z reaches the decoder and by unit, with a gain at which z and x matter much in each of them.
NETWORKS = {
    "bias, gated": {"conditioning": "bias", "activation": "gated", "gain": 2.0},
    "bias, relu": {"conditioning": "bias", "activation": "relu", "gain": 1.3},
    "maps, gated": {"conditioning": "maps", "activation": "gated", "gain": 2.0},
    "maps, relu": {"conditioning": "maps", "activation": "relu", "gain": 1.3},
    "independent pixels": {"conditioning": "maps", "pixelcnn_layers": 0, "gain": 2.0},
}
# Every way in which z reaches the decoder and every unit, once.
FEW_NETWORKS = ("bias, gated", "maps, relu", "independent pixels")

_BATCH = 1 << 14


def shared_model(config: ModelConfig = BINARY, gain: float = 2.0, seed: int = 0, dtype=None, **changes) -> PixelVAE:
    """What `model` makes, to read alone: all who ask for the same get the same, with its graphs as traced so far.

    That its weights stay is checked at the end of every test file.
    """
    name = (dataclasses.replace(config, **changes), gain, seed, dtype, modes.in_production())
    if name not in _MODELS:
        made = model(config, gain, seed, dtype, **changes)
        _MODELS[name] = made, _checksum(made)
    set_seeds(seed)
    _READ.add(name)
    return _MODELS[name][0]


_MODELS: dict[tuple, tuple[PixelVAE, int]] = {}
_READ: set[tuple] = set()


def _checksum(model: PixelVAE) -> int:
    return functools.reduce(lambda sum, variable: zlib.crc32(variable.numpy().tobytes(), sum), model.variables, 0)


def changed_models() -> list[tuple]:
    """Those of `shared_model` read since the last call whose weights are no longer what they were, and forgets them."""
    changed = [name for name in _READ if _checksum(_MODELS[name][0]) != _MODELS[name][1]]
    _READ.clear()
    for name in changed:
        del _MODELS[name]
    return changed


def model(config: ModelConfig = BINARY, gain: float = 2.0, seed: int = 0, dtype=None, **changes) -> PixelVAE:
    """A model whose weights are some way from where they start, biases and gains included.

    Most of a 3x3 kernel lies outside so small an image, which weakens every signal: `gain` makes up for it.
    """
    set_seeds(seed)
    config = dataclasses.replace(config, **changes)
    result = PixelVAE(config, dtype=dtype)
    scaled = "gain" if config.weight_normalization else "kernel"
    for variable in result.trainable_variables:
        # A flow's weights are never normalised.
        factor = gain if variable.name == scaled and "prior_flow" not in variable.path else 1.0
        as_glorots = _from_glorots(variable, result, config.activation) * variable
        variable.assign(factor * (as_glorots + np.random.normal(scale=0.1, size=variable.shape)))
    return result


def _from_glorots(variable, model, activation: str) -> float:
    """What brings fresh weights to the size of Glorot's, to which `gain` is relative."""
    if variable.name not in ("kernel", "gain"):
        return 1.0
    if model.config.network == "convolutional" and ("/encoder/" in variable.path or "/upsampler/" in variable.path):
        kernel = next(other for other in model.variables if other.path == variable.path.replace("/gain", "/kernel"))
        transposed = "_up/" in variable.path
        *window, inputs, outputs = kernel.shape
        inputs, outputs = np.prod(window) * np.array([outputs, inputs] if transposed else [inputs, outputs])
        variance = {"parameters": 1.0}.get(kernel.path.split("/")[-2], 8.0 if transposed else 2.0) / inputs
        return (2.0 / (inputs + outputs) / variance) ** 0.5
    if "/biases/" in variable.path:
        return 4.0
    if activation == "relu" and "/block_" in variable.path and "/output/" in variable.path:
        return 10.0**0.5
    of_unit = "/block_" in variable.path or "/masked/output_" in variable.path
    return {"gated": 0.5, "relu": 0.5**0.5}[activation] if of_unit else 1.0


@functools.cache
def all_images(config: ModelConfig) -> np.ndarray:
    """Every image there is, once, (levels ** dimensions, height, width, colors) uint8."""
    places = config.pixel_levels ** np.arange(config.num_dimensions)[::-1]
    numbers = np.arange(config.pixel_levels**config.num_dimensions)
    return (numbers[:, None] // places % config.pixel_levels).astype("uint8").reshape(-1, *config.image_shape)


def scorer(model: PixelVAE):
    """log p(x | z1) of (batch,) images, each given its own z1 (batch, channels) or none: float64, in batches."""
    latents = [tf.TensorSpec((None, channels), tf.float32) for channels in model.config.latent_channels[:1]]

    # One signature, so that it is traced once for all sizes.
    @tf.function(input_signature=[tf.TensorSpec((None, *model.config.image_shape), tf.uint8), *latents])
    def score(images, z1=None):
        return objectives.sum_over_dimensions(
            model.p_x_given_z1(images, model.pixel_decoder.condition(z1)).log_prob(images)
        )

    def log_p_x_given_z1(images, *z1) -> np.ndarray:
        parts = [slice(start, start + _BATCH) for start in range(0, len(images), _BATCH)]
        found = [score(images[part], *(tf.constant(z[part], tf.float32) for z in z1)) for part in parts]
        return np.concatenate(found).astype("float64")

    return log_p_x_given_z1


def everywhere(score, images, z) -> np.ndarray:
    """log p(x | z1) of every image at every value of a one-dimensional z1, (values, batch).

    Args:
        score: from `scorer`.
        images: (batch, height, width, colors).
        z: (values,) for all images alike, or (values, batch).
    """
    z = np.broadcast_to(z if z.ndim == 2 else z[:, None], (len(z), len(images)))
    repeated = np.broadcast_to(images, (len(z), *images.shape)).reshape(-1, *images.shape[1:])
    return score(repeated, z.reshape(-1, 1)).reshape(z.shape)


def exact_log_likelihood(model: PixelVAE, images) -> np.ndarray:
    """log p(x) of each image by the trapezoidal rule over a one-dimensional z1, (batch,) float64."""
    z, step = np.linspace(-8.0, 8.0, 401, retstep=True)
    log_prior = -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
    return np.logaddexp.reduce(everywhere(scorer(model), images, z) + log_prior[:, None] + np.log(step), axis=0)


def exact_elbo(model: PixelVAE, images) -> np.ndarray:
    """The expected bound of each image by the trapezoidal rule over the noise of a one-dimensional z1."""
    noise, step = np.linspace(-8.0, 8.0, 401, retstep=True)
    weights = np.exp(-0.5 * noise**2) / np.sqrt(2 * np.pi) * step
    encoding = model.encode(images)
    mean, scale = (values[0][:, 0].astype("float64") for values in (encoding.mean, encoding.scale))
    log_p = everywhere(scorer(model), images, mean + scale * noise[:, None])
    return weights @ log_p - 0.5 * (mean**2 + scale**2 - 1.0) + np.log(scale)
