"""Measures the speed and memory of a part of this package; prints a JSON line a measurement, then a table.

python tools/benchmark.py input --dataset=imagenet64 --image_size=64 --data_dir=DIR   reading prepared images
python tools/benchmark.py prepare --input=train_64x64.tar                             preparing them
"""

import json
import sys

from absl import flags

from pixelvae_tf import commands, settings
from pixelvae_tf.config import DataConfig

DATASET = flags.DEFINE_string("dataset", "imagenet64", "input: a prepared dataset, or image_folder.")
DATA_DIR = flags.DEFINE_string("data_dir", "", "input: folder of prepared data, or of images.")
IMAGE_SIZE = flags.DEFINE_integer("image_size", 64, "input, prepare: height and width.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "input: images a batch.")
IMAGES = flags.DEFINE_integer("images", 60_000, "input: images that the pipeline is timed on.")
INPUT = flags.DEFINE_string("input", "", "prepare: an archive or folder of images of 64x64.")


def measure_input():
    from pixelvae_tf.data import benchmarks

    config = DataConfig(DATASET.value, DATA_DIR.value, image_size=IMAGE_SIZE.value)
    return benchmarks.measure_reading(config, batch_size=BATCH_SIZE.value, images=IMAGES.value)


def measure_prepare():
    from pixelvae_tf.data import benchmarks

    return benchmarks.measure_preparing(INPUT.value, IMAGE_SIZE.value)


MEASURES = {"input": measure_input, "prepare": measure_prepare}


def main(name: str) -> None:
    if name not in MEASURES:
        raise settings.UsageError(f"{name or 'nothing'!r} to measure: begin with one of {', '.join(MEASURES)}")
    commands.start_tensorflow()
    from pixelvae_tf.data.benchmarks import table

    rows = []
    for row in MEASURES[name]():
        rows.append(row)
        print(json.dumps({"benchmark": name, **row}), flush=True)
    print(table(rows), file=sys.stderr)


if __name__ == "__main__":
    chosen = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else ""
    commands.run(lambda: main(chosen), __doc__)
