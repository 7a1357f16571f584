"""Makes the best weights of a finished run a pretrained model of the package, in place of an earlier one of that name.

python tools/publish.py --workdir=runs/mnist_best --name=binarized_mnist_best
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

WORKDIR = flags.DEFINE_string("workdir", "", "Folder of the run, which was evaluated on test.")
NAME = flags.DEFINE_string("name", "", "What users call the model: small letters, digits and _.")
FOLDER = flags.DEFINE_string("folder", str(pretrained.FOLDER), "Folder to write NAME.weights.h5 and NAME.json to.")


def described(run: Run, best: dict) -> dict:
    """What a user of the weights may want to know. Raises UsageError for a run that is not done or not evaluated."""
    record = run.record()
    if record["summary"]["best_step"] != best["step"]:
        raise UsageError(f"--workdir={run.workdir}: trains on since its summary; continue it to its end")
    evaluations = {
        split: found for split, found in record["evaluations"].items() if found["checkpoint_step"] == best["step"]
    }
    if "test" not in evaluations:
        raise UsageError(
            f"--workdir={run.workdir}: its best weights, of step {best['step']}, were not evaluated on test: "
            f"python -m pixelvae_tf.evaluate --workdir={run.workdir} --split=test --importance_samples=50"
        )
    known = {name: best[name] for name in ("step", "weights", "nll_bound_nats")}
    return {"config": record["config"], "summary": record["summary"], "evaluations": evaluations, "best": known}


def main() -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", NAME.value):
        raise UsageError(f"--name={NAME.value!r}: use small letters, digits and _, a letter first")
    weights_file = files.check_output(str(pathlib.Path(FOLDER.value, f"{NAME.value}.weights.h5")), "folder")
    record_file = weights_file.with_name(f"{NAME.value}.json")
    run = Run(WORKDIR.value)
    weights, best = run.best_weights()
    record = described(run, best)
    # Both are whole before either takes its place.
    with files.replacing(weights_file) as temporary:
        weight_files.extract(weights, temporary, run.config().model)
        files.write_json(record_file, {**record, "file": weights_file.name, "sha256": files.sha256(temporary)})
    found = record["evaluations"]["test"]
    print(
        f"{NAME.value}: step {best['step']}, test bound {found['nll_bound_nats']:.2f} nats on "
        f"{found['num_examples']:,} images, {weights_file.stat().st_size / 1e6:.1f} MB in {weights_file.parent}"
    )


if __name__ == "__main__":
    program.run(main, __doc__)
