"""Trains a PixelVAE, PixelCNN or VAE in a work directory; the same command again continues an interrupted run."""

import sys

from absl import flags

from pixelvae_tf.commandline import program
from pixelvae_tf.commandline.flags import define_config_flags, run_of_flags
from pixelvae_tf.config import TrainConfig
from pixelvae_tf.training.cluster import cluster_of

define_config_flags()
WORKDIR = flags.DEFINE_string(
    "workdir", "", "Work directory of the run, for its configuration, checkpoints and records."
)


def main() -> None:
    _cut_warmup_of_a_short_trial()
    # Reports wrong values and a wrong TF_CONFIG before the slow imports.
    config = run_of_flags()
    cluster_of(config.training)
    devices = program.start_tensorflow(lambda: _devices(config.training), in_training=True)
    from pixelvae_tf import data
    from pixelvae_tf.training.run import train

    info = data.describe(config.data)
    if devices.is_chief:
        for note in data.notes(config.data):
            print(note, file=sys.stderr)
    summary = train(run_of_flags(info.image_shape, info.pixel_levels), WORKDIR.value, devices)
    if not devices.is_chief:
        return
    if "interrupted_by" in summary:
        print(f"saved at step {summary['steps']} on {summary['interrupted_by']}; the same command continues")
    else:
        print(
            f"trained {summary['steps']} steps; best validation bound {summary['best_validation_bound_nats']:.2f} "
            f"nats at step {summary['best_step']} ({WORKDIR.value})"
        )


def _cut_warmup_of_a_short_trial() -> None:
    """Shortens a learning rate warm-up that does not fit into --steps, so that a short trial of any flag file works."""
    steps, warmup = flags.FLAGS.steps, flags.FLAGS.learning_rate_warmup_steps
    if 1 <= steps <= warmup:
        flags.FLAGS.learning_rate_warmup_steps = steps // 10
        print(
            f"--steps={steps}: the warm-up of the learning rate is cut from {warmup} to {steps // 10} steps",
            file=sys.stderr,
        )


def _devices(train_config: TrainConfig):
    from pixelvae_tf.training.devices import create_devices

    return create_devices(train_config)


if __name__ == "__main__":
    program.run(main, __doc__)
