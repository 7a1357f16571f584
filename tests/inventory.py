"""Every public layer, made small, with inputs: one list for all tests that hold for each of them.

A new layer without an entry fails tests/test_layer_contract.py.
"""

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Callable

import keras
import numpy as np

import pixelvae_tf.layers
import pixelvae_tf.networks
from pixelvae_tf.layers import conditioning, lstm, masked_block, masked_conv, pixel_input, weight_norm
from pixelvae_tf.networks import convolutional, decoder, flow, masked_residual, pixelcnn, pixelrnn, residual

HEIGHT, WIDTH, BATCH = 3, 4, 4
LEVELS = 5


@dataclasses.dataclass(frozen=True)
class Entry:
    """One layer.

    Attributes:
        make: keyword arguments such as `dtype` to the layer, not built.
        inputs: of its call, each with a batch of `BATCH` examples.
        order: what the outputs at a position see of the `images` among the inputs: "past", "past and present", or
            "anything" for a layer without masks.
        images: which inputs are images, or maps that stand for pixels.
        colors: of a pixel, in the channels of these images and of every output.
        build: builds the layer where its first call does not.
        call: the layer and its inputs to its outputs.
    """

    make: Callable[..., keras.Layer]
    inputs: tuple
    order: str
    images: tuple[int, ...] = (0,)
    colors: int = 1
    build: Callable[[keras.Layer], None] = lambda layer: None
    call: Callable = lambda layer, *inputs: layer(*inputs)

    def built(self, **settings) -> keras.Layer:
        """A layer with weights, all of them some way from where they start."""
        layer = self.make(**settings)
        self.build(layer)
        self.call(layer, *self.inputs)
        generator = np.random.default_rng(1)
        # Moving variances stay positive.
        layer.set_weights([value + 0.2 * generator.uniform(size=value.shape) for value in layer.get_weights()])
        return layer

    def outputs(self, layer, *inputs) -> list:
        """The outputs of a layer, however they are nested, at the given inputs or at its own."""
        return keras.tree.flatten(self.call(layer, *(inputs or self.inputs)))


def _maps(channels: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(BATCH, height, width, channels)).astype("float32")


def _vectors(channels: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(BATCH, channels)).astype("float32")


def _biases(channels: int) -> np.ndarray:
    return _vectors(channels)[:, None, None]


def _given_maps(layer, features, maps):
    return layer(features, maps=maps)


def _given_label(layer, features, label):
    return layer(features, label=label)


_LABELS = np.arange(BATCH) % LEVELS
_PIXELS = np.random.default_rng(0).integers(LEVELS, size=(BATCH, HEIGHT, WIDTH, 3)).astype("uint8")
_SMALL = {"first_kernel_size": 3, "kernel_size": 3}


def _decoder(**settings) -> decoder.Decoder:
    upsampler = convolutional.Upsampler((HEIGHT, WIDTH), (4,), **settings)
    return decoder.Decoder(
        6, upsampler, pixelcnn.PixelCNN(6, 6, 2, colors=3, conditional_on_maps=True, **_SMALL, **settings), **settings
    )


def _decoder_of_classes(**settings) -> decoder.Decoder:
    """Without masked layers, where the label joins z."""
    upsampler = convolutional.Upsampler((HEIGHT, WIDTH), (4,), **settings)
    return decoder.Decoder(6, upsampler, num_classes=LEVELS, **settings)


# By the name of the layer; several entries where a setting changes what it does.
INVENTORY: dict[str, list[Entry]] = {
    "Dense": [Entry(lambda **s: weight_norm.Dense(4, **s), (_vectors(3),), "anything")],
    "Conv2D": [Entry(lambda **s: weight_norm.Conv2D(4, 3, padding="same", **s), (_maps(3),), "anything")],
    "Conv2DTranspose": [
        Entry(lambda **s: weight_norm.Conv2DTranspose(4, 3, 2, padding="same", **s), (_maps(3),), "anything")
    ],
    "MaskedConv2D": [
        Entry(lambda **s: masked_conv.MaskedConv2D(6, 3, "A", colors=3, **s), (_maps(3),), "past", colors=3),
        Entry(
            lambda **s: masked_conv.MaskedConv2D(6, 3, "B", "horizontal", colors=3, **s),
            (_maps(3),),
            "past and present",
            colors=3,
        ),
    ],
    "MaskedBlock": [
        Entry(
            lambda **s: masked_block.MaskedBlock(6, 3, "A", colors=3, **s),
            (_maps(3), _maps(3), _biases(12), _biases(12)),
            "past",
            (0, 1),
            colors=3,
        )
    ],
    "UnitBiases": [
        Entry(lambda **s: conditioning.UnitBiases([4, 2], **s), (_vectors(3),), "anything"),
        Entry(lambda **s: conditioning.UnitBiases([4, 2], num_classes=LEVELS, **s), (_vectors(3), _LABELS), "anything"),
    ],
    "ClassBiases": [Entry(lambda **s: conditioning.ClassBiases([4, 2], LEVELS, **s), (_LABELS,), "anything")],
    "LabelInput": [
        Entry(lambda **s: conditioning.LabelInput(LEVELS, 2, **s), (_maps(3), _LABELS), "anything"),
        Entry(lambda **s: conditioning.LabelInput(LEVELS, **s), (_vectors(3), _LABELS), "anything"),
    ],
    "PixelInput": [
        Entry(lambda **s: pixel_input.PixelInput(LEVELS, **s), (_PIXELS,), "anything"),
        Entry(lambda **s: pixel_input.PixelInput(LEVELS, 2, **s), (_PIXELS,), "anything"),
    ],
    "PixelCNN": [
        Entry(
            lambda **s: pixelcnn.PixelCNN(6, 6, 2, colors=3, **_SMALL, **s),
            (_maps(3), _vectors(2)),
            "past",
            colors=3,
        ),
        Entry(
            lambda **s: pixelcnn.PixelCNN(
                3, 6, 2, activation="relu", weight_normalization=False, conditional_on_maps=True, **_SMALL, **s
            ),
            (_maps(2), _maps(4)),
            "past",
            call=_given_maps,
        ),
        Entry(
            lambda **s: pixelcnn.PixelCNN(6, 6, 2, colors=3, num_classes=LEVELS, **_SMALL, **s),
            (_maps(3), _LABELS),
            "past",
            colors=3,
            call=_given_label,
        ),
    ],
    "MaskedResidualBlock": [
        Entry(
            lambda **s: masked_residual.MaskedResidualBlock(6, colors=3, **s),
            (_maps(6),),
            "past and present",
            colors=3,
        )
    ],
    "MaskedResidualNetwork": [
        Entry(
            lambda **s: masked_residual.MaskedResidualNetwork(
                6, 6, 2, output_layers=1, colors=3, conditional_on_maps=True, **_SMALL, **s
            ),
            (_maps(3), _maps(4)),
            "past",
            colors=3,
        ),
        Entry(
            lambda **s: masked_residual.MaskedResidualNetwork(6, 6, 2, colors=3, num_classes=LEVELS, **_SMALL, **s),
            (_maps(3), _LABELS),
            "past",
            colors=3,
            call=_given_label,
        ),
    ],
    "RowLSTM": [
        Entry(lambda **s: lstm.RowLSTM(3, 3, colors=3, **s), (_maps(6), _biases(12)), "past and present", colors=3)
    ],
    "DiagonalBiLSTM": [
        Entry(lambda **s: lstm.DiagonalBiLSTM(3, colors=3, **s), (_maps(6), _biases(24)), "past and present", colors=3),
        Entry(
            lambda **s: lstm.DiagonalBiLSTM(4, residual=False, weight_normalization=False, **s),
            (_maps(3), _biases(32)),
            "past and present",
        ),
    ],
    "PixelRNN": [
        Entry(
            lambda **s: pixelrnn.PixelRNN(6, 3, 3, output_layers=1, colors=3, **_SMALL, **s),
            (_maps(3), _vectors(2)),
            "past",
            colors=3,
        ),
        Entry(
            lambda **s: pixelrnn.PixelRNN(
                6, 3, 2, "row_lstm", colors=3, residual_connections=False, conditional_on_maps=True, **_SMALL, **s
            ),
            (_maps(3), _maps(4)),
            "past",
            colors=3,
            call=_given_maps,
        ),
        Entry(
            lambda **s: pixelrnn.PixelRNN(6, 3, 2, colors=3, num_classes=LEVELS, **_SMALL, **s),
            (_maps(3), _LABELS),
            "past",
            colors=3,
            call=_given_label,
        ),
    ],
    "Decoder": [
        Entry(
            _decoder,
            (_maps(3), _vectors(2)),
            "past",
            colors=3,
            build=lambda layer: layer.build((None, HEIGHT, WIDTH, 3), (None, 2)),
            call=lambda layer, features, z: layer(features, **layer.condition(z)),
        ),
        Entry(
            _decoder_of_classes,
            (_vectors(2), _LABELS),
            "anything",
            build=lambda layer: layer.build((None, HEIGHT, WIDTH, 3), (None, 2)),
            call=lambda layer, z, label: layer(_maps(3)[: len(z)], **layer.condition(z, label)),
        ),
    ],
    "AffineCoupling": [
        Entry(lambda **s: flow.AffineCoupling(1, 1, 4, **s), (_vectors(3),), "anything"),
        Entry(lambda **s: flow.AffineCoupling(1, 1, 4, LEVELS, **s), (_vectors(3), _LABELS), "anything"),
    ],
    "RealNVP": [
        Entry(lambda **s: flow.RealNVP(4, 1, 4, **s), (_vectors(3),), "anything"),
        Entry(lambda **s: flow.RealNVP(4, 1, 4, LEVELS, **s), (_vectors(3), _LABELS), "anything"),
    ],
    "ConvEncoder": [Entry(lambda **s: convolutional.ConvEncoder(2, (4, 4), **s), (_maps(3),), "anything")],
    "Upsampler": [Entry(lambda **s: convolutional.Upsampler((HEIGHT, WIDTH), (4, 4), **s), (_vectors(2),), "anything")],
    "ResidualBlock": [
        Entry(lambda **s: residual.ResidualBlock(4, **s), (_maps(3),), "anything"),
        Entry(lambda **s: residual.ResidualBlock(4, "down", **s), (_maps(3, 4),), "anything"),
        Entry(lambda **s: residual.ResidualBlock(4, "up", False, **s), (_maps(3),), "anything"),
    ],
    "ResidualEncoder": [
        Entry(lambda **s: residual.ResidualEncoder((2, 3), (2, 0), (4, 4), **s), (_maps(3, 4),), "anything")
    ],
    "ResidualUpsampler": [
        Entry(lambda **s: residual.ResidualUpsampler((4, 4), 0, 1, (4, 4), **s), (_vectors(2),), "anything"),
        Entry(lambda **s: residual.ResidualUpsampler((4, 4), 2, 1, (4, 4), **s), (_maps(3, 2, 2),), "anything"),
    ],
}
ENTRIES = {f"{name} {index}": entry for name, entries in INVENTORY.items() for index, entry in enumerate(entries)}


def public_layers() -> dict[str, type]:
    """Every public Keras layer that the package defines, by name."""
    found = {}
    for package in (pixelvae_tf.layers, pixelvae_tf.networks):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for name, value in vars(importlib.import_module(module.name)).items():
                if inspect.isclass(value) and issubclass(value, keras.Layer) and value.__module__ == module.name:
                    found[name] = value
    return {name: value for name, value in found.items() if not name.startswith("_")}
