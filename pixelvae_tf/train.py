"""Trains a PixelVAE, PixelCNN or VAE in a work directory; the same command again continues an interrupted run."""

import dataclasses

from absl import flags

from pixelvae_tf import commands, settings
from pixelvae_tf.cluster import cluster_of
from pixelvae_tf.config import DataConfig, ModelConfig, RunConfig, TrainConfig

settings.define_config_flags()
WORKDIR = flags.DEFINE_string("workdir", "", "Folder of the run: its configuration, checkpoints and records.")
# Settings are checked before the data is known, at sides that every number of halvings divides.
_ANY_SHAPE = (1 << 10, 1 << 10, 1)


def main() -> None:
    model_config = ModelConfig(image_shape=_ANY_SHAPE, **settings.values_of(ModelConfig))
    data_config = DataConfig(**settings.values_of(DataConfig))
    train_config = TrainConfig(**settings.values_of(TrainConfig))
    cluster_of(train_config)  # A wrong TF_CONFIG is told before the slow imports.
    devices = commands.start_tensorflow(lambda: _devices(train_config))
    from pixelvae_tf import data, training

    info = data.describe(data_config)
    model_config = dataclasses.replace(model_config, image_shape=info.image_shape, pixel_levels=info.pixel_levels)
    summary = training.train(RunConfig(model_config, data_config, train_config), WORKDIR.value, devices)
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
    from pixelvae_tf.devices import create_devices

    return create_devices(train_config)


if __name__ == "__main__":
    commands.run(main, __doc__)
