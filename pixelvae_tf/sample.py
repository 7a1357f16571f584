"""Draws images from a trained model and writes them as one PNG grid."""

from absl import flags

from pixelvae_tf import commands, files, runs, settings

OUTPUT = flags.DEFINE_string("output", "", "PNG file to write.")
NUM_SAMPLES = flags.DEFINE_integer("num_samples", 64, "Images to draw; with --vary in rows of 8.")
VARY = flags.DEFINE_enum(
    "vary", "all", ["all", "top", "middle", "pixels"], "Which level's noise varies along a row, all else the same "
    "there: the topmost level of latents, those below it, or the pixels (Figure 6 of the paper); 'all' for "
    "independent samples."
)  # fmt: skip
settings.define_model_flags()
settings.define_drawing_flags()
flags.register_validator("num_samples", lambda value: value >= 1, "use 1 or more")

_COLUMNS = 8


def main() -> None:
    drawing = settings.drawing()
    output = files.check_output(OUTPUT.value, "output")
    trained = runs.find_trained(settings.trained_model())
    commands.start_tensorflow(commands.sampling_threads)
    from pixelvae_tf import grids, sampling

    model, _ = runs.load_best(trained)
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
