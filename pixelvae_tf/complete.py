"""Completes images: keeps their first rows, or the pixels of a mask, and draws the rest from a trained model.

Each row of the PNG shows one image: the known pixels, with the unknown ones hatched in blue, several completions, and
the original.
"""

import pathlib

from absl import flags

from pixelvae_tf import files
from pixelvae_tf.commandline import program
from pixelvae_tf.commandline.flags import (
    UsageError,
    define_data_dir_flag,
    define_drawing_flags,
    define_label_flag,
    define_model_flags,
    drawing,
    label_of,
    split_data,
    trained_model,
)
from pixelvae_tf.data import image_files
from pixelvae_tf.runs.trained import class_names, find_trained, load_best

INPUT = flags.DEFINE_string(
    "input", "", "Image file, or folder with images at any depth, of the model's size (see --resize)."
)
SPLIT = flags.DEFINE_enum(
    "split",
    None,
    ["train", "validation", "test"],
    "Complete images of the dataset that the model was trained on, in place of --input.",
)
define_data_dir_flag("--split")
NUM_IMAGES = flags.DEFINE_integer(
    "num_images", 8, "Number of images to complete, in the order of their names.", lower_bound=1
)
RESIZE = flags.DEFINE_bool("resize", False, "Crop images of another size to their central square and resize it.")
KEEP_ROWS = flags.DEFINE_integer("keep_rows", None, "Number of rows to keep, from the top.", lower_bound=0)
MASK = flags.DEFINE_string(
    "mask",
    None,
    "In place of --keep_rows: a picture of the model's size. Pixels where it is white (lighter than half) are kept; "
    "pixels where it is black are drawn.",
)
NUM_SAMPLES = flags.DEFINE_integer("num_samples", 4, "Number of completions of each image.", lower_bound=1)
REFINEMENTS = flags.DEFINE_integer(
    "refinements",
    0,
    "Number of times to draw the rest again, with latents inferred from the last completion. For the first completion "
    "they come from the image with black in place of unknown pixels. 1 helps models of photographs, which rely on "
    "latents.",
    lower_bound=0,
)
OUTPUT = flags.DEFINE_string("output", "", "PNG file to write.")
define_model_flags()
define_label_flag("the class of the images; by default of each image of --split its own")
define_drawing_flags()


def main() -> None:
    options = drawing()
    if (KEEP_ROWS.value is None) == (MASK.value is None):
        raise UsageError("--keep_rows, --mask: give one of the two, to choose the pixels to keep")
    if bool(INPUT.value) == bool(SPLIT.value):
        raise UsageError("--input, --split: give one of the two, to choose the images to complete")
    output = files.check_output(OUTPUT.value, "output")
    folder, names = (None, []) if SPLIT.value else image_files.find(INPUT.value, "input")
    paths, mask_file = [folder / name for name in names], MASK.value and pathlib.Path(MASK.value)
    files.check_not_an_input(output, filter(None, [*paths, mask_file]))
    trained = find_trained(trained_model())
    names_of_classes = class_names(trained)
    own_labels = bool(SPLIT.value and names_of_classes and flags.FLAGS["label"].value is None)
    label = None if own_labels else label_of(names_of_classes)
    program.start_tensorflow(program.sampling_threads)
    from pixelvae_tf.evaluation import pictures

    model, _ = load_best(trained)
    shape, levels = model.config.image_shape, model.config.pixel_levels
    mask = image_files.read_mask(mask_file, *shape[:2]) if mask_file else None
    known = model.checked_mask(KEEP_ROWS.value, mask)
    if paths:
        images = image_files.read_all(paths[: NUM_IMAGES.value], shape, levels, resize=RESIZE.value)
    elif own_labels:
        images, label = _from_split(split_data(trained.config().data), labelled=True)
        label = label.repeat(NUM_SAMPLES.value)
    else:
        images = _from_split(split_data(trained.config().data))
    repeated = images.repeat(NUM_SAMPLES.value, axis=0)
    drawn = model.complete(repeated, mask=known, refinements=REFINEMENTS.value, label=label, **options)
    drawn = drawn.reshape(len(images), NUM_SAMPLES.value, *shape)
    pictures.save(output, pictures.completions(images, known, drawn, levels))
    left_out = f" (the first of {len(paths)}, see --num_images)" if len(paths) > len(images) else ""
    print(f"{NUM_SAMPLES.value} completions of each of {len(images)} images{left_out} in {output}")


def _from_split(config, labelled: bool = False):
    from pixelvae_tf import data

    with data.reading(config):
        batches = data.evaluation_batches(config, SPLIT.value, batch_size=NUM_IMAGES.value, labelled=labelled)
        return next(batches.as_numpy_iterator())


if __name__ == "__main__":
    program.run(main, __doc__)
