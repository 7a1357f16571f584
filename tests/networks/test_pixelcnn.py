"""The autoregressive network: what each output sees of the image, of z and of its maps."""

import numpy as np
import pytest
import tensorflow as tf
from causality import by_color, dependence, earlier
from models import few

from pixelvae_tf.layers.pixel_input import PixelInput
from pixelvae_tf.networks.convolutional import Upsampler
from pixelvae_tf.networks.pixelcnn import PixelCNN

HEIGHT, WIDTH, EXAMPLES, LEVELS = 4, 5, 8, 3
LATENTS = 3
NETWORKS = [(activation, colors) for activation in ("gated", "relu") for colors in (1, 3)]


def network(activation: str, colors: int, **settings) -> PixelCNN:
    """Just enough 3x3 layers for the last pixel to see the first; the logits of one color are side by side."""
    sizes = {"filters": 24, "num_layers": 4, "first_kernel_size": 3, "kernel_size": 3, **settings}
    return PixelCNN(colors * LEVELS, colors=colors, activation=activation, **sizes)


def normal(*shape) -> np.ndarray:
    return np.random.normal(size=shape).astype("float32")


def conditions(conditioning: str, batch: int) -> dict:
    """What the network is conditioned on, the same for every example."""
    if conditioning == "bias":
        return {"z": tf.repeat(normal(1, LATENTS), batch, axis=0)}
    return {"maps": tf.repeat(normal(1, HEIGHT, WIDTH, 4), batch, axis=0)} if conditioning == "maps" else {}


CASES = [
    (*network, embedding_channels, conditioning)
    for network in NETWORKS
    for embedding_channels in (0, 2)
    for conditioning in ("none", "bias", "maps")
]
# Every value, and every two of a network's and its conditioning's.
IN_EVERY_RUN = {
    ("gated", 1, 2, "none"),
    ("gated", 3, 2, "bias"),
    ("gated", 3, 0, "maps"),
    ("relu", 3, 2, "none"),
    ("relu", 1, 2, "bias"),
    ("relu", 1, 2, "maps"),
}


@pytest.mark.parametrize(
    ("activation", "colors", "embedding_channels", "conditioning"),
    [case if case in IN_EVERY_RUN else pytest.param(*case, marks=pytest.mark.exhaustive) for case in CASES],
)
def test_every_output_ignores_the_future_and_sees_the_whole_past_with_colors_in_order(
    activation, colors, embedding_channels, conditioning
):
    images = np.random.randint(LEVELS, size=(EXAMPLES, HEIGHT, WIDTH, colors))
    features = PixelInput(LEVELS, embedding_channels)(images)
    layer = network(activation, colors, conditional_on_maps=conditioning == "maps")
    strength = dependence(lambda maps: layer(maps, **conditions(conditioning, maps.shape[0])), features)
    np.testing.assert_array_equal(by_color(strength, colors) > 0, earlier(HEIGHT, WIDTH, colors))


@pytest.mark.parametrize("weight_normalization", few([True, False], [True]))
def test_the_papers_network_reaches_the_first_corners_of_a_28x28_image(weight_normalization):
    layer = PixelCNN(1, 16, 13, weight_normalization=weight_normalization)
    images = tf.constant(np.random.randint(2, size=(1, 28, 28, 1)), tf.float32)
    order = earlier(28, 28, 1)
    for row, column in ((27, 0), (27, 27), (13, 14), (0, 27)):
        with tf.GradientTape() as tape:
            tape.watch(images)
            logit = layer(images)[0, row, column, 0]
        seen = tape.gradient(logit, images).numpy()[0] != 0
        np.testing.assert_array_equal(seen, order[row, column, 0])


def unit_slices(layer: PixelCNN) -> dict:
    """The part of the biases that belongs to each unit of the stack, half by half where it is gated."""
    layers, width = layer.num_layers, layer.unit_inputs
    names = [f"{stack} {index}" for index in range(layers) for stack in ("vertical", "horizontal")]
    names += [f"output {index}" for index in range(layer.output_layers)]
    halves = 2 if layer.activation == "gated" else 1
    return {
        (name, half): slice(unit * width + half * width // halves, unit * width + (half + 1) * width // halves)
        for unit, name in enumerate(names)
        for half in range(halves)
    }


@pytest.mark.parametrize(("row", "column"), [(0, 0), (HEIGHT - 1, WIDTH - 1)])
@pytest.mark.parametrize(("activation", "colors"), NETWORKS)
def test_z_enters_every_unit_of_both_stacks_and_so_the_first_pixel_too(activation, colors, row, column):
    layer = network(activation, colors, weight_normalization=False)
    total = sum(layer.biases.sizes)
    features, z = normal(1, HEIGHT, WIDTH, colors), normal(EXAMPLES, total)
    layer(features, z=z[:1])
    # Each dimension of z moves one channel of one unit.
    layer.biases.linear.kernel.assign(np.eye(total))
    strength = dependence(lambda z: layer(tf.repeat(features, z.shape[0], axis=0), z=z)[:, row, column], z)
    for (name, half), part in unit_slices(layer).items():
        # What leaves the vertical stack after the last block goes nowhere.
        used = name != f"vertical {layer.num_layers - 1}"
        assert (strength[:, part] > 0).any() == used, (name, half)


def test_without_z_a_unit_has_a_learned_bias_in_its_place():
    layer = network("gated", 1)
    features = normal(EXAMPLES, HEIGHT, WIDTH, 1)
    before = layer(features).numpy()
    for (name, half), part in unit_slices(layer).items():
        values = np.zeros(layer.biases.bias.shape, "float32")
        values[part] = 1.0
        layer.biases.bias.assign(values)
        assert np.any(layer(features).numpy() != before) == (name != "vertical 3"), (name, half)


@pytest.mark.parametrize(
    ("activation", "colors"),
    [NETWORKS[0], *(pytest.param(*case, marks=pytest.mark.exhaustive) for case in NETWORKS[1:3]), NETWORKS[3]],
)
def test_maps_are_not_masked_at_the_current_pixel_nor_to_its_right(activation, colors):
    """Trap 5: maps that went through the image's masks would be hidden there."""
    layer = network(activation, colors, num_layers=5, conditional_on_maps=True)
    features, maps = normal(1, HEIGHT, WIDTH, colors), normal(EXAMPLES, HEIGHT, WIDTH, 2)
    strength = dependence(lambda maps: layer(tf.repeat(features, maps.shape[0], axis=0), maps=maps), maps)
    for row in range(HEIGHT):
        # Every output of the row sees the whole of every row down to its own.
        assert np.all(strength[row, :, :, : row + 1] > 0)


@pytest.mark.parametrize("num_layers", [1, 4])
@pytest.mark.parametrize("activation", ["gated", "relu"])
def test_through_upsampled_maps_every_latent_reaches_every_output(activation, num_layers):
    upsampler = Upsampler((HEIGHT, WIDTH), (8, 8))
    layer = network(activation, 1, num_layers=num_layers, conditional_on_maps=True)
    features, z = normal(1, HEIGHT, WIDTH, 1), normal(4 * EXAMPLES, LATENTS)
    strength = dependence(lambda z: layer(tf.repeat(features, z.shape[0], axis=0), maps=upsampler(z)), z)
    assert strength.shape == (HEIGHT, WIDTH, LEVELS, LATENTS)
    assert np.all(strength > 0)


@pytest.mark.parametrize("made_for_maps", [True, False])
def test_a_network_made_for_maps_or_without_them_refuses_the_other_call(made_for_maps):
    layer = network("gated", 1, conditional_on_maps=made_for_maps)
    maps = None if made_for_maps else normal(1, HEIGHT, WIDTH, 2)
    with pytest.raises(ValueError, match=f"conditional_on_maps={made_for_maps}"):
        layer(normal(1, HEIGHT, WIDTH, 1), maps=maps)
