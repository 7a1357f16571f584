"""Measures the likelihood of a split under a trained model; prints one JSON object and keeps it with the run."""

import dataclasses
import json
import sys

import tqdm
from absl import flags

from pixelvae_tf import commands

WORKDIR = flags.DEFINE_string("workdir", "", "Folder of the run.")
SPLIT = flags.DEFINE_enum("split", "test", ["train", "validation", "test"], "Split to evaluate on.")
IMPORTANCE_SAMPLES = flags.DEFINE_integer(
    "importance_samples", None, "Latent samples an image for the importance-sampled likelihood; leave out for none."
)
MAX_EXAMPLES = flags.DEFINE_integer("max_examples", 0, "Evaluate on the first so many images; 0 for all.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 100, "Images at a time; changes memory and speed, not what counts.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of the latent noise.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of prepared data, if it is not the one of training.")
flags.register_validator("importance_samples", lambda value: value is None or value >= 1, "use 1 or more")
flags.register_validator("max_examples", lambda value: value >= 0, "use 0 or more")
flags.register_validator("batch_size", lambda value: value >= 1, "use 1 or more")


def main() -> None:
    commands.start_tensorflow()
    from pixelvae_tf import data, files, runs
    from pixelvae_tf.evaluation import evaluate

    run = runs.Run(WORKDIR.value)
    model, best = run.load_best()
    data_config = run.config().data
    if DATA_DIR.value is not None:
        data_config = dataclasses.replace(data_config, data_dir=DATA_DIR.value)
    batches = data.evaluation_batches(
        data_config, SPLIT.value, batch_size=BATCH_SIZE.value, max_examples=MAX_EXAMPLES.value
    )
    with data.reading(data_config), tqdm.tqdm(unit="image", disable=None, file=sys.stderr) as bar:
        measured = evaluate(
            model,
            batches,
            importance_samples=IMPORTANCE_SAMPLES.value or 0,
            seed=SEED.value,
            on_batch=bar.update,
        )
    record = {
        "split": SPLIT.value,
        **measured,
        "checkpoint_step": best["step"],
        "weights": best["weights"],
        "dataset": data_config.dataset,
        "variant": data.describe(data_config).variant,
        "seed": SEED.value,
        **runs.environment(),
    }
    files.write_json(run.workdir / f"eval_{SPLIT.value}.json", record)
    print(json.dumps(record))


if __name__ == "__main__":
    commands.run(main, __doc__)
