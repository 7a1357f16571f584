"""Small runs for the tests of the benchmarks."""

import dataclasses

import tiny

from pixelvae_tf.config import RunConfig, TrainConfig

TRAINING = TrainConfig(batch_size=8, learning_rate=1e-2, kl_warmup_steps=(5,), mixed_precision="float32")
# Biases and maps, gates and ReLUs, and colors in order.
NETWORKS = {
    "bias, gated": (tiny.BINARY, {}),
    "maps, relu, color": (tiny.COLOR, {"conditioning": "maps", "activation": "relu"}),
    "no latents, without weight normalization": (tiny.COLOR, {"latent_channels": (), "weight_normalization": False}),
    "the least without noise": (tiny.LEAST, {"latent_channels": ()}),
}


# Not the tiny models' 3: a kernel of one weight has no direction, and Adam blows up its gradient's rounding errors.
KERNEL = {"first_kernel_size": 5}
# For what is counted and timed, not compared.
SMALLEST = {"pixelcnn_layers": 1, "output_layers": 0, "weight_normalization": False}
DIGITS = {"image_shape": (8, 8, 1), "pixel_levels": 17, **SMALLEST}


def run_of(network: str = "bias, gated", **changes) -> RunConfig:
    config, own = NETWORKS[network]
    return RunConfig(dataclasses.replace(config, **KERNEL, **own, **changes), training=TRAINING)
