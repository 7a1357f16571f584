"""Draws images from a trained model and writes them as one PNG grid."""

from absl import flags

from pixelvae_tf import files
from pixelvae_tf.commandline import program
from pixelvae_tf.commandline.flags import (
    UsageError,
    define_drawing_flags,
    define_label_flag,
    define_model_flags,
    drawing,
    label_of,
    trained_model,
)
from pixelvae_tf.runs.trained import class_names, find_trained, load_best

OUTPUT = flags.DEFINE_string("output", "", "PNG file to write.")
NUM_SAMPLES = flags.DEFINE_integer(
    "num_samples", 64, "Number of images to draw; with --vary in rows of 8, with --label=all as many of each class."
)
VARY = flags.DEFINE_enum(
    "vary",
    "all",
    ["all", "top", "middle", "pixels"],
    "The level whose noise varies along a row while all other noise stays the same: the topmost level of latents, "
    "those below it, or the pixels (Figure 6 of the paper). 'all' draws independent samples.",
)
define_model_flags()
define_label_flag("the class to draw, or 'all' for a row of each class")
define_drawing_flags()
flags.register_validator("num_samples", lambda value: value >= 1, "use 1 or more")

_COLUMNS = 8
_ALL = "all"


def main() -> None:
    options = drawing()
    output = files.check_output(OUTPUT.value, "output")
    trained = find_trained(trained_model())
    names = class_names(trained)
    label = label_of(names, also=(_ALL,))
    if label == _ALL and VARY.value != "all":
        raise UsageError(f"--label={_ALL}, --vary={VARY.value}: each fills the rows of the grid; give one of the two")
    program.start_tensorflow(program.sampling_threads)
    import numpy as np

    from pixelvae_tf.evaluation import pictures
    from pixelvae_tf.sampling.noise import sources_of_noise

    model, _ = load_best(trained)
    if label == _ALL:
        columns = max(1, NUM_SAMPLES.value // len(names))
        images = model.sample(len(names) * columns, label=np.arange(len(names)).repeat(columns), **options)
        pictures.save_grid(output, images, model.config.pixel_levels, columns, list(names))
    elif VARY.value == "all":
        images = model.sample(NUM_SAMPLES.value, label=label, **options)
        pictures.save_grid(output, images, model.config.pixel_levels)
    else:
        known = sources_of_noise(model.config)
        if VARY.value not in known:
            raise UsageError(f"--vary={VARY.value}: this model has {', '.join(known)}")
        columns = min(_COLUMNS, NUM_SAMPLES.value)
        rows = NUM_SAMPLES.value // columns
        images = model.sample_varying(VARY.value, rows, columns, label=label, **options)
        labels = [f"{VARY.value} {row + 1}" for row in range(rows)]
        pictures.save_grid(output, images, model.config.pixel_levels, columns, labels)
    print(f"{len(images)} samples in {output}")


if __name__ == "__main__":
    program.run(main, __doc__)
