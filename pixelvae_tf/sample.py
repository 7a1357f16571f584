"""Draws images from a trained model and writes them as one PNG grid."""

from absl import flags

from pixelvae_tf import commands, files

WORKDIR = flags.DEFINE_string("workdir", "", "Folder of the run.")
OUTPUT = flags.DEFINE_string("output", "", "PNG file to write.")
NUM_SAMPLES = flags.DEFINE_integer("num_samples", 64, "Images to draw.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of the samples.")
flags.register_validator("num_samples", lambda value: value >= 1, "use 1 or more")


def main() -> None:
    output = files.check_output(OUTPUT.value, "output")
    commands.start_tensorflow()
    from pixelvae_tf import grids, runs

    model = runs.load(WORKDIR.value)
    images = model.sample(NUM_SAMPLES.value, seed=SEED.value)
    grids.save_grid(output, images, model.config.pixel_levels)
    print(f"{len(images)} samples in {output}")


if __name__ == "__main__":
    commands.run(main, __doc__)
