"""Trains a PixelVAE, PixelCNN or VAE in a work directory; the same command again continues an interrupted run."""

import dataclasses
import sys

from absl import flags

from pixelvae_tf.commandline import program
from pixelvae_tf.commandline.flags import define_config_flags, values_of
from pixelvae_tf.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from pixelvae_tf.training.cluster import cluster_of

define_config_flags()
WORKDIR = flags.DEFINE_string("workdir", "", "Folder of the run: its configuration, checkpoints and records.")
# Settings are checked before the data is known, at sides that every number of halvings divides.
_ANY_SHAPE = (1 << 10, 1 << 10, 1)


def main() -> None:
    model_config = ModelConfig(image_shape=_ANY_SHAPE, **values_of(ModelConfig))
    data_config = DataConfig(**values_of(DataConfig))
    train_config = TrainConfig(**_with_short_warmup(values_of(TrainConfig)))
    cluster_of(train_config)  # A wrong TF_CONFIG is told before the slow imports.
    devices = program.start_tensorflow(lambda: _devices(train_config))
    from pixelvae_tf import data
    from pixelvae_tf.training.run import train

    info = data.describe(data_config)
    model_config = dataclasses.replace(model_config, image_shape=info.image_shape, pixel_levels=info.pixel_levels)
    if devices.is_chief:
        for note in data.notes(data_config):
            print(note, file=sys.stderr)
    summary = train(RunConfig(model_config, data_config, train_config), WORKDIR.value, devices)
    if not devices.is_chief:
        return
    if "interrupted_by" in summary:
        print(f"saved at step {summary['steps']} on {summary['interrupted_by']}; the same command continues")
    else:
        print(
            f"trained {summary['steps']} steps; best validation bound {summary['best_validation_bound_nats']:.2f} "
            f"nats at step {summary['best_step']} ({WORKDIR.value})"
        )


def _with_short_warmup(values: dict) -> dict:
    """The settings, with a warm-up of the learning rate that fits into a short trial beside any flag file; says so."""
    steps, warmup = values["steps"], values["learning_rate_warmup_steps"]
    if not 1 <= steps <= warmup:
        return values
    short = steps // 10
    print(f"--steps={steps}: the warm-up of the learning rate is cut from {warmup} to {short} steps", file=sys.stderr)
    return values | {"learning_rate_warmup_steps": short}


def _devices(train_config: TrainConfig):
    from pixelvae_tf.training.devices import create_devices

    return create_devices(train_config)


if __name__ == "__main__":
    program.run(main, __doc__)
