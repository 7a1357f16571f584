"""Measures the likelihood of a split, or of a folder of images, under a trained model; prints one JSON object.

The command keeps the object of a split in the work directory as eval_SPLIT.json. With --per_example_csv=FILE it also
writes the object to FILE.json, for a pretrained model only there.
"""

import json
import sys

import tqdm
from absl import flags

from pixelvae_tf import files
from pixelvae_tf.commandline import program
from pixelvae_tf.commandline.flags import (
    UsageError,
    define_data_dir_flag,
    define_label_flag,
    define_model_flags,
    label_of,
    split_data,
    trained_model,
)
from pixelvae_tf.data import image_files
from pixelvae_tf.evaluation import scores
from pixelvae_tf.probability.seeds import LARGEST_SEED
from pixelvae_tf.runs.environment import environment
from pixelvae_tf.runs.trained import class_names, find_trained, load_best
from pixelvae_tf.runs.workdir import Run

define_model_flags()
SPLIT = flags.DEFINE_enum("split", "test", ["train", "validation", "test"], "Split to evaluate on.")
INPUT = flags.DEFINE_string(
    "input",
    None,
    "In place of a split: an image, or a folder with images at any depth. Images of another size are cropped to their "
    "central square and resized, and pixels are rounded to the levels of the model.",
)
PER_EXAMPLE_CSV = flags.DEFINE_string(
    "per_example_csv",
    None,
    "CSV file to write, with a row for each image: its path in the folder or its number in the split, the bound in "
    "nats, the importance estimate (with --importance_samples), and the bound in bits per dimension.",
)
IMPORTANCE_SAMPLES = flags.DEFINE_integer(
    "importance_samples", None, "Latent samples per image for the importance estimate; by default no estimate.", 1
)
MAX_EXAMPLES = flags.DEFINE_integer("max_examples", 0, "Evaluate only the first so many images; 0 for all.", 0)
BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 100, "Images at a time. This changes memory, speed and the noise, not which images count.", 1
)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the latent noise.", 0, LARGEST_SEED)
define_data_dir_flag()
ACCURACY = flags.DEFINE_bool(
    "accuracy",
    True,
    "For a model of classes: also score each image with every class, for the accuracy of the most likely one by Bayes' "
    "rule, by the bound and, with --importance_samples, by that estimate. --noaccuracy saves that time.",
)
define_label_flag("the class of the images of --input")


def main() -> None:
    csv_file = given = None
    if PER_EXAMPLE_CSV.value is not None:
        csv_file = files.check_output(PER_EXAMPLE_CSV.value, "per_example_csv")
    if INPUT.value is not None:
        if SPLIT.present or flags.FLAGS["data_dir"].present:
            raise UsageError("--input: replaces a split; leave out --split and --data_dir")
        given = image_files.find(INPUT.value, "input")
    trained = find_trained(trained_model())
    if isinstance(trained, Run) and given is None:
        trained.check_evaluation(SPLIT.value)
    if given is None and flags.FLAGS["label"].present:
        raise UsageError("--label: is of the images of --input; those of a split have their own")
    label = None if given is None else label_of(class_names(trained))
    program.start_tensorflow()
    from pixelvae_tf import data
    from pixelvae_tf.evaluation import bayes
    from pixelvae_tf.evaluation.likelihood import evaluate

    model, best = load_best(trained)
    config, classes = split_data(trained.config().data), None
    if given is None:
        classes = _checked_classes(config, trained)
        batches, names, source = _of_split(config, labelled=classes is not None)
    else:
        batches, names, source = _of_files(*given, model.config)
    with data.reading(config), tqdm.tqdm(unit="image", disable=None, file=sys.stderr) as bar:
        measured = evaluate(
            model,
            batches if label is None else _with_label(batches, label),
            importance_samples=IMPORTANCE_SAMPLES.value or 0,
            seed=SEED.value,
            on_batch=bar.update,
            log_prior=bayes.log_prior(classes) if classes is not None and ACCURACY.value else None,
        )
    used = {"checkpoint_step": best["step"], "weights": best["weights"], "precision": model.dtype_policy.name}
    record = {**source, **measured.summary(), **used, "seed": SEED.value, **environment()}
    if given is not None:
        record |= _rounding(batches) | ({} if label is None else {"label": label})
    if not isinstance(trained, Run):
        record["pretrained"] = trained.name
    _keep(record, csv_file, names, measured, trained if isinstance(trained, Run) and given is None else None)


def _keep(record: dict, csv_file, names, measured, run: Run | None) -> None:
    """Prints a record, and writes it and the scores of single images where they belong."""
    # Printed first, so that the user has it even if a file cannot be written.
    print(json.dumps(record), flush=True)
    if run is not None:
        run.keep_evaluation(SPLIT.value, record)
    if csv_file is not None:
        scores.write(csv_file, names, measured.per_example())
        files.write_json(scores.summary_file(csv_file), record)


def _checked_classes(config, trained):
    """Returns the classes that a model was trained on, if any. Raises DataError if the data has others."""
    from pixelvae_tf import data

    known, found = trained.classes(), data.classes_of_model(config, trained.config().model.num_classes)
    if known is not None and found.names != known.names:
        raise data.DataError(
            f"--data_dir={config.data_dir}: has the classes {', '.join(found.names[:5])}, ..., and the model "
            f"{', '.join(known.names[:5])}, ...; name images of the same classes"
        )
    return known or found


def _of_split(config, labelled: bool):
    """Returns batches of a split, the names of its images, and their source for the record."""
    from pixelvae_tf import data

    batches = data.evaluation_batches(
        config, SPLIT.value, batch_size=BATCH_SIZE.value, max_examples=MAX_EXAMPLES.value, labelled=labelled
    )
    source = {"split": SPLIT.value, "dataset": config.dataset, "variant": data.describe(config).variant}
    return batches, data.image_names(config, SPLIT.value), source


def _of_files(folder, names, config):
    """Returns the same for image files."""
    names = names[: MAX_EXAMPLES.value or None]
    batches = image_files.Batches(folder, names, config.image_shape, config.pixel_levels, BATCH_SIZE.value)
    return batches, names, {"input": INPUT.value}


def _with_label(batches, label: int):
    """Yields batches of images with the same label for all of them."""
    import numpy as np

    for images in batches:
        yield images, np.full(len(images), label)


def _rounding(batches):
    """Returns the record's entries about pixels that were rounded to the model's levels, and warns if there are any."""
    if batches.rounded:
        print(
            f"{batches.rounded} of {len(batches.names)} images have pixels between the {batches.pixel_levels} levels "
            "of the model: these were rounded, and the scores are of the rounded images",
            file=sys.stderr,
        )
    return {"pixel_levels": batches.pixel_levels, "rounded_images": batches.rounded}


if __name__ == "__main__":
    program.run(main, __doc__)
