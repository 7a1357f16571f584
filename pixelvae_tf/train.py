"""Trains a PixelVAE, PixelCNN or VAE in a work directory; the same command again continues an interrupted run."""

import dataclasses

from absl import flags

from pixelvae_tf.commandline import program
from pixelvae_tf.commandline.flags import define_config_flags, values_of
from pixelvae_tf.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from pixelvae_tf.training.cluster import cluster_of

define_config_flags()
WORKDIR = flags.DEFINE_string(
    "workdir", "", "Work directory of the run, for its configuration, checkpoints and records."
)
# Settings are checked before the data is known, at sides that every number of halvings divides.
_ANY_SHAPE = (1 << 10, 1 << 10, 1)


def main() -> None:
    model_config = ModelConfig(image_shape=_ANY_SHAPE, **values_of(ModelConfig))
    data_config = DataConfig(**values_of(DataConfig))
    train_config = TrainConfig(**values_of(TrainConfig))
    cluster_of(train_config)  # A wrong TF_CONFIG is told before the slow imports.
    devices = program.start_tensorflow(lambda: _devices(train_config))
    from pixelvae_tf import data
    from pixelvae_tf.training.run import train

    info = data.describe(data_config)
    model_config = dataclasses.replace(model_config, image_shape=info.image_shape, pixel_levels=info.pixel_levels)
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


def _devices(train_config: TrainConfig):
    from pixelvae_tf.training.devices import create_devices

    return create_devices(train_config)


if __name__ == "__main__":
    program.run(main, __doc__)
