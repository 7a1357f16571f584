"""Measures the baselines of a dataset: uniform pixels, and independent pixels with their training frequencies.

python tools/baselines.py --dataset=digits [--split=test] [--output=FILE] prints one JSON line for each.
"""

import json

import _installed  # noqa: F401
from absl import flags

from pixelvae_tf import files
from pixelvae_tf.commandline import program

DATASET = flags.DEFINE_string("dataset", "digits", "Dataset by name.")
DATA_DIR = flags.DEFINE_string("data_dir", "", "Folder of prepared data.")
IMAGE_SIZE = flags.DEFINE_integer("image_size", 0, "Height and width of the images; 0 for the dataset's own size.")
SPLIT = flags.DEFINE_enum("split", "test", ["train", "validation", "test"], "Split to evaluate on.")
OUTPUT = flags.DEFINE_string("output", None, "JSON file to write, in addition to the output.")


def main() -> None:
    output = None if OUTPUT.value is None else files.check_output(OUTPUT.value, "output")
    program.start_tensorflow()
    import numpy as np

    from pixelvae_tf import data
    from pixelvae_tf.config import DataConfig
    from pixelvae_tf.evaluation.baselines import IndependentMarginals, uniform_nats
    from pixelvae_tf.probability.objectives import bits_per_dim

    config = DataConfig(dataset=DATASET.value, data_dir=DATA_DIR.value, image_size=IMAGE_SIZE.value)
    info = data.describe(config)

    def batches(split):
        return (batch.numpy() for batch in data.evaluation_batches(config, split, batch_size=1000))

    marginals = IndependentMarginals(info).fit(batches("train"))
    nats = np.concatenate([marginals.negative_log_likelihood(batch) for batch in batches(SPLIT.value)])
    measured_on = {
        "dataset": config.dataset,
        "variant": info.variant,
        "image_shape": list(info.image_shape),
        "split": SPLIT.value,
        "num_examples": len(nats),
    }
    records = []
    for name, mean in (("uniform", uniform_nats(info)), ("independent marginals", float(nats.mean()))):
        likelihood = {"nll_nats": mean, "bits_per_dim": bits_per_dim(mean, int(np.prod(info.image_shape)))}
        records.append({"baseline": name, **measured_on, **likelihood})
        print(json.dumps(records[-1]))
    if output is not None:
        files.write_json(output, records)


if __name__ == "__main__":
    program.run(main, __doc__)
