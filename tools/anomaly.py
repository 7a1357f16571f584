"""Measures how well scores separate foreign images from normal ones: the area under the ROC curve, from CSV files.

python tools/anomaly.py --normal=test.csv --foreign=upside_down.csv,noisy.csv [--output=FILE] prints one JSON object.
evaluate --per_example_csv writes the files. An area of 1 means that every foreign image is less likely than every
normal one. 0.5 is chance. Below 0.5 the foreign images are the likelier ones.
"""

import json
import pathlib

import _installed  # noqa: F401
import numpy as np
from absl import flags

from pixelvae_tf import files
from pixelvae_tf.commandline import program
from pixelvae_tf.commandline.flags import UsageError
from pixelvae_tf.evaluation import scores

NORMAL = flags.DEFINE_string("normal", "", "File of scores of images like the training images.")
FOREIGN = flags.DEFINE_list("foreign", [], "Files of scores of foreign images, separated by commas.")
OUTPUT = flags.DEFINE_string("output", None, "JSON file to write, in addition to the output.")

_AREAS = {scores.BOUND: "auc_bound", scores.IMPORTANCE: "auc_importance"}


def told_apart(normal: dict[str, np.ndarray], foreign: dict[str, np.ndarray]) -> dict[str, float]:
    """Returns the area under the ROC curve for each score that both files have, with foreign images as positives.

    `likelier_than_all_normal` is the share of foreign images that are likelier than every normal one.
    """
    from sklearn.metrics import roc_auc_score

    is_foreign = np.repeat([False, True], [len(normal[scores.BOUND]), len(foreign[scores.BOUND])])
    areas = {
        area: float(roc_auc_score(is_foreign, np.concatenate([normal[score], foreign[score]])))
        for score, area in _AREAS.items()
        if score in normal and score in foreign
    }
    return {**areas, "likelier_than_all_normal": float((foreign[scores.BOUND] < normal[scores.BOUND].min()).mean())}


def described(path: pathlib.Path, columns: dict[str, np.ndarray]) -> dict:
    """Returns the number and mean of the scores in a file, and the record of their evaluation if it exists."""
    summary = scores.summary_file(path)
    means = {"num_images": len(columns[scores.BOUND]), "mean_bound_nats": float(columns[scores.BOUND].mean())}
    return {"name": path.stem, **means, "evaluation": files.read_json(summary) if summary.exists() else None}


def main() -> None:
    output = None if OUTPUT.value is None else files.check_output(OUTPUT.value, "output")
    if not NORMAL.value or not FOREIGN.value:
        raise UsageError("--normal, --foreign: name a file of normal scores, and one or more files of foreign ones")
    normal_file, *foreign_files = map(pathlib.Path, [NORMAL.value, *FOREIGN.value])
    normal = scores.read(normal_file)
    foreign = [(path, scores.read(path)) for path in foreign_files]
    record = {
        "normal": described(normal_file, normal),
        "foreign": [{**described(path, columns), **told_apart(normal, columns)} for path, columns in foreign],
    }
    if output is not None:
        files.write_json(output, record)
    print(json.dumps(record))


if __name__ == "__main__":
    program.run(main, __doc__)
