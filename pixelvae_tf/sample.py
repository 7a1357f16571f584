"""Draws images from a trained model and writes them as one PNG grid."""

import math

from absl import flags

from pixelvae_tf import commands, files, settings

WORKDIR = flags.DEFINE_string("workdir", "", "Folder of the run.")
OUTPUT = flags.DEFINE_string("output", "", "PNG file to write.")
NUM_SAMPLES = flags.DEFINE_integer("num_samples", 64, "Images to draw; with --vary in rows of 8.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of the samples.")
VARY = flags.DEFINE_enum(
    "vary", "all", ["all", "top", "middle", "pixels"], "Which level's noise varies along a row, all else the same "
    "there: the topmost level of latents, those below it, or the pixels (Figure 6 of the paper); 'all' for "
    "independent samples."
)  # fmt: skip
METHOD = flags.DEFINE_enum(
    "method", "cached", ["cached", "naive"], "cached: nothing is computed twice; naive: a full pass of the network for "
    "every pixel and color, the same images, slowly."
)  # fmt: skip
TEMPERATURE = flags.DEFINE_list(
    "temperature", ["1"], "Under 1 keeps to likely values: one number for all, or one for the pixels and one for each "
    "level of latents, z1 first."
)  # fmt: skip
flags.register_validator("num_samples", lambda value: value >= 1, "use 1 or more")

_COLUMNS = 8


def _temperatures() -> tuple[float, ...]:
    try:
        values = tuple(float(item) for item in TEMPERATURE.value)
    except ValueError:
        values = ()
    if not values or not all(0 < value < math.inf for value in values):
        raise settings.UsageError(f"--temperature={','.join(TEMPERATURE.value)}: give positive numbers, such as 0.8")
    return values


def main() -> None:
    temperatures = _temperatures()
    output = files.check_output(OUTPUT.value, "output")
    commands.start_tensorflow()
    from pixelvae_tf import grids, runs, sampling

    model = runs.load(WORKDIR.value)
    count = 1 + model.config.num_levels
    if len(temperatures) not in (1, count):
        raise settings.UsageError(f"--temperature: this model takes 1 number, or {count}: pixels, then latents from z1")
    drawing = {"seed": SEED.value, "temperature": temperatures, "method": METHOD.value}
    if VARY.value == "all":
        images = model.sample(NUM_SAMPLES.value, **drawing)
        grids.save_grid(output, images, model.config.pixel_levels)
    else:
        known = sampling.sources_of_noise(model.config)
        if VARY.value not in known:
            raise settings.UsageError(f"--vary={VARY.value}: this model has {', '.join(known)}")
        columns = min(_COLUMNS, NUM_SAMPLES.value)
        rows = NUM_SAMPLES.value // columns
        images = model.sample_varying(VARY.value, rows, columns, **drawing)
        labels = [f"{VARY.value} {row + 1}" for row in range(rows)]
        grids.save_grid(output, images, model.config.pixel_levels, columns, labels)
    print(f"{len(images)} samples in {output}")


if __name__ == "__main__":
    commands.run(main, __doc__)
