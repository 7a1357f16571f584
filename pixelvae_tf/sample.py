"""Draws images from a trained model and writes them as one PNG grid.

With --interpolate each row of the grid leads from one given image to the next.
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

OUTPUT = flags.DEFINE_string("output", "", "PNG file to write.")
NUM_SAMPLES = flags.DEFINE_integer(
    "num_samples", 64, "Number of images to draw; with --vary in rows of 8, with --label=all as many of each class."
)
VARY = flags.DEFINE_enum(
    "vary",
    "all",
    ["all", "top", "middle", "pixels"],
    "The level whose noise varies along a row while all other noise stays the same: the topmost level of latents, "
    "those below it, or the pixels (Figure 6 of the paper). 'all' draws independent samples. With --interpolate: the "
    "levels of latents that lead to the next image, 'all', 'top' or 'middle', while the others stay.",
)
INTERPOLATE = flags.DEFINE_list(
    "interpolate",
    [],
    "Image files with commas between them, two or more: draw images whose latents lie between those of one file and "
    "the next. With --split, numbers of images from 0.",
)
SPLIT = flags.DEFINE_enum(
    "split",
    None,
    ["train", "validation", "test"],
    "For --interpolate: images of the dataset that the model was trained on, by number, in place of files.",
)
define_data_dir_flag("--split")
RESIZE = flags.DEFINE_bool(
    "resize", False, "For --interpolate: crop images of another size to their central square and resize it."
)
STEPS = flags.DEFINE_integer(
    "interpolation_steps", 8, "For --interpolate: images from one to the next, with both ends.", lower_bound=2
)
PATH = flags.DEFINE_enum(
    "interpolation_path",
    "sphere",
    ["sphere", "line"],
    "For --interpolate: the way from the latents of one image to the next, along an arc about 0, where most of the "
    "prior lies, or straight.",
)
define_model_flags()
define_label_flag("the class to draw, or 'all' for a row of each class")
define_drawing_flags()
flags.register_validator("num_samples", lambda value: value >= 1, "use 1 or more")

_COLUMNS = 8
_ALL = "all"
_OF_INTERPOLATION = ("split", "data_dir", "resize", "interpolation_steps", "interpolation_path")


def main() -> None:
    options = drawing()
    if not INTERPOLATE.value and (unused := [name for name in _OF_INTERPOLATION if flags.FLAGS[name].present]):
        raise UsageError(f"--{unused[0]}: is for --interpolate; leave it out, or give images to interpolate")
    output = files.check_output(OUTPUT.value, "output")
    trained = find_trained(trained_model())
    if INTERPOLATE.value:
        _interpolate(trained, output, options)
    else:
        _sample(trained, output, options)


def _sample(trained, output: pathlib.Path, options: dict) -> None:
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


def _interpolate(trained, output: pathlib.Path, options: dict) -> None:
    given = INTERPOLATE.value
    if len(given) < 2:
        raise UsageError(f"--interpolate={given[0]}: give two images or more, with commas between them")
    if flags.FLAGS["num_samples"].present:
        raise UsageError("--num_samples: leave it out with --interpolate; use --interpolation_steps for longer rows")
    if len(options["temperature"]) > 1:
        raise UsageError("--temperature: the latents are given with --interpolate; give one number, of the pixels")
    paths = [] if SPLIT.value else _paths(given, output)
    numbers = _numbers(given) if SPLIT.value else []
    label = label_of(class_names(trained))
    program.start_tensorflow(program.sampling_threads)
    from pixelvae_tf.evaluation import pictures
    from pixelvae_tf.sampling.noise import sources_of_noise

    model, _ = load_best(trained)
    config = model.config
    if VARY.value not in (known := ["all", *sources_of_noise(config)[:-1]]):
        raise UsageError(f"--vary={VARY.value}: between two images this model can vary {', '.join(known)}")
    if paths:
        images = image_files.read_all(paths, config.image_shape, config.pixel_levels, resize=RESIZE.value)
    else:
        images = _of_split(split_data(trained.config().data), numbers)
    way = {"path": PATH.value, "vary": VARY.value, "label": label}
    drawn = model.interpolate(images[:-1], images[1:], STEPS.value, **options, **way)
    pictures.save(output, pictures.interpolations(images[:-1], drawn, images[1:], config.pixel_levels))
    print(f"{len(drawn)} x {STEPS.value} images between {len(images)} given ones in {output}")


def _paths(given: list[str], output: pathlib.Path) -> list[pathlib.Path]:
    paths = [pathlib.Path(item).expanduser() for item in given]
    for path in paths:
        if not path.is_file():
            raise files.FileError(f"--interpolate: {path} is no file; give image files, or numbers with --split")
    files.check_not_an_input(output, paths)
    return paths


def _numbers(given: list[str]) -> list[int]:
    for item in given:
        if not item.isdecimal():
            raise UsageError(f"--interpolate: {item!r} is no number of an image of --split={SPLIT.value}, from 0")
    return [int(item) for item in given]


def _of_split(config, numbers: list[int]):
    """Images of a split by number, (count, height, width, colors)."""
    from pixelvae_tf import data

    found, first = {}, 0
    with data.reading(config):
        batches = data.evaluation_batches(config, SPLIT.value, batch_size=100, max_examples=max(numbers) + 1)
        for batch in batches.as_numpy_iterator():
            found |= {number: batch[number - first] for number in numbers if first <= number < first + len(batch)}
            first += len(batch)
    for number in numbers:
        if number not in found:
            raise UsageError(f"--interpolate: there is no image {number}; --split={SPLIT.value} has 0 to {first - 1}")
    import numpy as np

    return np.stack([found[number] for number in numbers])


if __name__ == "__main__":
    program.run(main, __doc__)
