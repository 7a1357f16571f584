"""Makes the best weights of a finished run a pretrained model of the package; replaces a model of the same name.

python tools/publish.py --workdir=runs/mnist_dropout --name=binarized_mnist_best
"""

import pathlib
import re

import _installed  # noqa: F401
from absl import flags

from pixelvae_tf import files
from pixelvae_tf.commandline import program
from pixelvae_tf.commandline.flags import UsageError
from pixelvae_tf.runs import pretrained, weight_files
from pixelvae_tf.runs.workdir import Run

WORKDIR = flags.DEFINE_string("workdir", "", "Folder of the run; it must have an evaluation on test.")
NAME = flags.DEFINE_string("name", "", "Name of the model: small letters, digits and _.")
FOLDER = flags.DEFINE_string("folder", str(pretrained.FOLDER), "Folder to write NAME.weights.h5 and NAME.json to.")


def described(run: Run, best: dict) -> dict:
    """Returns the record to publish with the weights. Raises UsageError if the run is not finished or evaluated."""
    record = run.record()
    if record["summary"]["best_step"] != best["step"]:
        raise UsageError(f"--workdir={run.workdir}: has trained on since its summary; continue it to its end")
    evaluations = {
        split: scores for split, scores in record["evaluations"].items() if scores["checkpoint_step"] == best["step"]
    }
    if "test" not in evaluations:
        raise UsageError(
            f"--workdir={run.workdir}: its best weights, of step {best['step']}, were not evaluated on test: "
            f"python -m pixelvae_tf.evaluate --workdir={run.workdir} --split=test --importance_samples=50"
        )
    known = {name: best[name] for name in ("step", "weights", "nll_bound_nats")}
    classes = {"classes": record["classes"]} if "classes" in record else {}
    return {
        "config": record["config"],
        **classes,
        "summary": record["summary"],
        "evaluations": evaluations,
        "best": known,
    }


def main() -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", NAME.value):
        raise UsageError(f"--name={NAME.value!r}: use small letters, digits and _, a letter first")
    weights_file = files.check_output(str(pathlib.Path(FOLDER.value, f"{NAME.value}.weights.h5")), "folder")
    record_file = weights_file.with_name(f"{NAME.value}.json")
    run = Run(WORKDIR.value)
    weights, best = run.best_weights()
    record = described(run, best)
    # Both files are complete before either replaces an earlier one.
    with files.replacing(weights_file) as temporary:
        weight_files.extract(weights, temporary, run.config().model)
        files.write_json(record_file, {**record, "file": weights_file.name, "sha256": files.sha256(temporary)})
    scores = record["evaluations"]["test"]
    print(
        f"{NAME.value}: step {best['step']}, test bound {scores['nll_bound_nats']:.2f} nats on "
        f"{scores['num_examples']:,} images, {weights_file.stat().st_size / 1e6:.1f} MB in {weights_file.parent}"
    )


if __name__ == "__main__":
    program.run(main, __doc__)
