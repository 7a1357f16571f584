"""Work directories with weights, made in this process and without a training; and what is in one."""

import pathlib

import numpy as np
import tiny

from pixelvae_tf.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from pixelvae_tf.runs.workdir import Run

# Of the digits in the package, with a network as small as `commands.TINY`.
DIGITS = ModelConfig(
    image_shape=(8, 8, 1),
    pixel_levels=17,
    latent_channels=(2,),
    encoder_channels=(4,),
    pixelcnn_layers=1,
    pixelcnn_channels=4,
    first_kernel_size=3,
    kernel_size=3,
    output_layers=0,
)


def with_weights(folder: pathlib.Path, config: ModelConfig = DIGITS, seed: int = 0) -> pathlib.Path:
    """A work directory that holds weights, of digits."""
    run = Run(folder)
    run.claim(RunConfig(config, DataConfig(), TrainConfig()))
    run.save_best(tiny.model(config, seed=seed), {"step": 7, "weights": "raw", "nll_bound_nats": 130.0})
    return folder


def checkpoint_of(workdir) -> dict[str, np.ndarray]:
    """Every variable of the last checkpoint but the time it took."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(workdir / "checkpoints"))
    names = [name for name in reader.get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")]
    return {name: reader.get_tensor(name) for name in names if not name.startswith(("seconds", "save_counter"))}
