"""What a model needs, against counts by hand."""

import dataclasses

import keras
import numpy as np
import pytest

from pixelvae_tf import ModelConfig, PixelVAE
from pixelvae_tf.benchmarks import model_size
from pixelvae_tf.layers.masked_conv import MaskedConv2D

PIXELCNN = ModelConfig(
    image_shape=(4, 5, 1),
    pixel_levels=2,
    latent_channels=(),
    pixelcnn_layers=2,
    pixelcnn_channels=8,
    first_kernel_size=3,
    kernel_size=3,
    output_layers=0,
)
POSITIONS = 4 * 5
# Weights that the image meets: the row above (three pixels), and the pixel to the left.
OF_THE_IMAGE = 3 * 16 + 16
# The link between the stacks and the output of a block.
WITHIN_A_BLOCK = 16 * 16 + 8 * 8
# Two rows of three positions, and two of a row.
SECOND_BLOCK = 6 * 8 * 16 + 2 * 8 * 16
LOGITS = 8


def compiled(config: ModelConfig, **settings) -> PixelVAE:
    model = PixelVAE(config)
    model.compile(keras.optimizers.Adam(), **settings)
    return model


def test_the_arithmetic_of_a_pixelcnn_is_what_counting_by_hand_gives():
    found = model_size.flops(compiled(PIXELCNN), batch_size=3)
    taps = OF_THE_IMAGE + WITHIN_A_BLOCK + SECOND_BLOCK + WITHIN_A_BLOCK + LOGITS
    assert found.forward == found.forward_unmasked == 2 * 3 * POSITIONS * taps
    # The gradients of inputs and of weights cost as much each, but nobody asks for that of the image.
    assert found.training_step == found.training_step_unmasked == 2 * 3 * POSITIONS * (3 * taps - OF_THE_IMAGE)


def test_weights_that_masks_hide_are_computed_but_not_counted_as_useful():
    config = dataclasses.replace(PIXELCNN, image_shape=(4, 5, 3), pixelcnn_channels=9)
    model = compiled(config)
    found = model_size.flops(model, batch_size=1)
    masked = [layer for layer in model._flatten_layers() if isinstance(layer, MaskedConv2D)]
    ones = {layer: np.asarray(layer.visible_kernel(np.ones(layer.kernel.shape, "float32"))) for layer in masked}
    visible = {layer: np.count_nonzero(kernel) for layer, kernel in ones.items()}
    assert found.forward == 2 * POSITIONS * sum(kernel.size for kernel in ones.values())
    assert found.forward_unmasked == 2 * POSITIONS * sum(visible.values())
    assert found.forward_unmasked < found.forward
    # The first block's two convolutions read the image, of which nobody asks for the gradient.
    of_image = [layer for layer in masked if layer.mask_type == "A"]
    assert len(of_image) == 2 and sum(ones[layer].size - visible[layer] for layer in of_image) > 0
    without = sum(visible[layer] for layer in of_image)
    assert found.training_step_unmasked == 2 * POSITIONS * (3 * sum(visible.values()) - without)


def test_masked_layers_over_latents_are_counted_at_the_positions_of_the_latents():
    config = ModelConfig(
        image_shape=(4, 4, 3),
        pixel_levels=4,
        network="residual",
        conditioning="maps",
        latent_channels=(2, 3),
        latent_strides=(2, 0),
        encoder_channels=(4, 4),
        upsampling_channels=(4, 4),
        residual_blocks=0,
        batch_normalization=False,
        pixelcnn_layers=1,
        pixelcnn_channels=6,
        latent_pixelcnn_layers=1,
        latent_pixelcnn_channels=6,
        masked_blocks="residual",
        first_kernel_size=3,
        kernel_size=3,
    )
    model = compiled(config)
    hidden = {
        decoder: sum(np.sum(layer.mask == 0) for layer in decoder._flatten_layers() if isinstance(layer, MaskedConv2D))
        for decoder in (model.pixel_decoder, *model.latent_decoders)
    }
    assert all(hidden.values())
    found = model_size.flops(model, batch_size=2)
    assert found.forward - found.forward_unmasked == 2 * 2 * (
        16 * hidden[model.pixel_decoder] + 4 * hidden[model.latent_decoders[0]]
    )


@pytest.mark.as_in_production
def test_a_step_needs_memory_by_the_image_and_state_once():
    model = compiled(PIXELCNN, ema_decay=0.5)
    small, large = (model_size.calculated(model, batch_size) for batch_size in (1000, 2000))
    assert small["parameters"] == model.count_params()
    # Weights, two moments, and the average; besides them the optimizer's two numbers.
    assert small["state_bytes"] == large["state_bytes"]
    assert 0 <= small["state_bytes"] - 4 * 4 * model.count_params() < 100
    assert small["step_gflop"] == large["step_gflop"] > 2.5 * small["forward_gflop"] > 0
    assert large["tensors_bytes"] == pytest.approx(2 * small["tensors_bytes"], rel=0.1)
    assert large["device_step_seconds"] > small["device_step_seconds"] > 0
