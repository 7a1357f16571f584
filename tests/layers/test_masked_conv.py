"""The masked convolution against a plain one with a masked kernel, and its sight by gradients."""

import itertools

import numpy as np
import pytest
from causality import dependence, tap_visible

from pixelvae_tf.layers.masked_conv import MaskedConv2D
from pixelvae_tf.layers.masks import MASK_TYPES, STACKS

CASES = list(itertools.product([3, (5, 3), (3, 5)], MASK_TYPES, STACKS, [1, 3], [1, 2]))
HEIGHT, WIDTH = 4, 5


def plain_mask(size, inputs, outputs, mask_type, stack) -> np.ndarray:
    """The mask of the whole kernel by loops; `inputs` and `outputs` list the color of each channel."""
    mask = np.zeros((*size, len(inputs), len(outputs)), "float32")
    for row, column, i, o in np.ndindex(mask.shape):
        place = row - size[0] // 2, column - size[1] // 2
        mask[row, column, i, o] = tap_visible(*place, inputs[i], outputs[o], mask_type, stack)
    return mask


def plain_convolution(images, kernel) -> np.ndarray:
    """A convolution that keeps the image's size, tap by tap."""
    rows, columns = kernel.shape[0] // 2, kernel.shape[1] // 2
    padded = np.pad(images, [(0, 0), (rows, rows), (columns, columns), (0, 0)])
    height, width = images.shape[1:3]
    return sum(
        padded[:, row : row + height, column : column + width] @ kernel[row, column]
        for row, column in np.ndindex(kernel.shape[:2])
    )


def channels(colors: int, parts: int) -> tuple[list, list]:
    """The color of each of two inputs a color and of each output: two a color in each part."""
    pairs = [color for color in range(colors) for _ in range(2)]
    return pairs, parts * pairs


def whole_size(kernel_size, stack) -> tuple[int, int]:
    size = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    return (1, size[1]) if stack == "horizontal" else size


def make(kernel_size, mask_type, stack, colors, parts, **settings) -> MaskedConv2D:
    outputs = channels(colors, parts)[1]
    return MaskedConv2D(len(outputs), kernel_size, mask_type, stack, colors, parts, **settings)


@pytest.mark.parametrize("weight_normalization", [False, True])
@pytest.mark.parametrize(("kernel_size", "mask_type", "stack", "colors", "parts"), CASES)
def test_it_equals_a_plain_convolution_with_the_whole_masked_kernel(
    kernel_size, mask_type, stack, colors, parts, weight_normalization
):
    generator = np.random.default_rng(0)
    inputs, outputs = channels(colors, parts)
    layer = make(kernel_size, mask_type, stack, colors, parts, weight_normalization=weight_normalization)
    images = generator.normal(size=(2, HEIGHT, WIDTH, len(inputs))).astype("float32")
    layer.build(images.shape)
    layer.set_weights([generator.normal(size=weight.shape) for weight in layer.weights])

    mask = plain_mask(whole_size(kernel_size, stack), inputs, outputs, mask_type, stack)
    rows, columns = (np.unique(places) for places in np.nonzero(mask)[:2])
    kernel = np.zeros(mask.shape)
    kernel[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = layer.kernel.numpy()
    kernel *= mask
    if weight_normalization:
        kernel *= layer.gain.numpy() / np.sqrt((kernel**2).sum(axis=(0, 1, 2)) + 1e-12)
    expected = plain_convolution(images, kernel) + layer.bias.numpy()
    np.testing.assert_allclose(layer(images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("kernel_size", "mask_type", "stack", "colors", "parts"), CASES)
def test_a_fresh_layer_sees_from_the_first_call_all_of_the_past_in_its_reach_and_nothing_else(
    kernel_size, mask_type, stack, colors, parts
):
    inputs, outputs = channels(colors, parts)
    images = np.random.default_rng(0).normal(size=(1, HEIGHT, WIDTH, len(inputs)))
    # The gradients are of a layer that nothing but this call has built.
    found = dependence(make(kernel_size, mask_type, stack, colors, parts), images) > 0

    size = whole_size(kernel_size, stack)
    expected = np.zeros_like(found)
    for row, column, o, other_row, other_column, i in np.ndindex(found.shape):
        dy, dx = other_row - row, other_column - column
        in_reach = abs(dy) <= size[0] // 2 and abs(dx) <= size[1] // 2
        expected[row, column, o, other_row, other_column, i] = in_reach and tap_visible(
            dy, dx, inputs[i], outputs[o], mask_type, stack
        )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("shape", "stack", "colors"), [((1, 5), "vertical", 1), ((1, 1), "raster", 1)])
def test_a_mask_that_hides_everything_is_refused(shape, stack, colors):
    with pytest.raises(ValueError, match="hides every tap"):
        MaskedConv2D(4, shape, "A", stack, colors).build((None, 4, 4, 2))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"kernel_size": 4, "mask_type": "A"}, "kernel_size=4"),
        ({"kernel_size": (3, 2), "mask_type": "A"}, "kernel_size"),
        ({"kernel_size": 3, "mask_type": "C"}, "mask_type='C'"),
        ({"kernel_size": 3, "mask_type": "A", "stack": "diagonal"}, "stack='diagonal'"),
    ],
)
def test_a_wrong_setting_is_named(settings, name):
    with pytest.raises(ValueError, match=name.replace("(", r"\(")):
        MaskedConv2D(4, **settings)
