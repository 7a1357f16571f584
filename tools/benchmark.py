"""Measures the speed and memory of a part of this package; prints a JSON line a measurement, then a table.

python tools/benchmark.py input --dataset=imagenet64 --image_size=64 --data_dir=DIR   reading prepared images
python tools/benchmark.py prepare --input=train_64x64.tar                             preparing them
python tools/benchmark.py sample --flagfile=flags/mnist.cfg --image_shape=28,28,1 --pixel_levels=2    sampling
"""

import json
import sys

from absl import flags

from pixelvae_tf import commands, settings
from pixelvae_tf.config import DataConfig, ModelConfig

# The first word, before the flags: each measurement has its own.
CHOSEN = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else ""
if CHOSEN == "sample":
    settings.define_config_flags()
    IMAGE_SHAPE = flags.DEFINE_list("image_shape", ["28", "28", "1"], "Height, width and colors of the images.")
    PIXEL_LEVELS = flags.DEFINE_integer("pixel_levels", 2, "Values that a pixel can take.")
    BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["1", "8", "64", "100", "256"], "Images a call.")
    NAIVE_PASSES = flags.DEFINE_integer("naive_passes", 28, "Passes of the naive sampler to time and scale from.")
    CALLS = flags.DEFINE_integer("calls", 5, "Calls after the first, of which the fastest counts.")
else:
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


def measure_sample():
    from pixelvae_tf import benchmarks

    shape = settings.integers("image_shape", IMAGE_SHAPE.value)
    config = ModelConfig(image_shape=shape, pixel_levels=PIXEL_LEVELS.value, **settings.values_of(ModelConfig))
    batch_sizes = settings.integers("batch_sizes", BATCH_SIZES.value)
    return benchmarks.measure_sampling(config, batch_sizes, NAIVE_PASSES.value, CALLS.value)


MEASURES = {"input": measure_input, "prepare": measure_prepare, "sample": measure_sample}


def main(name: str) -> None:
    if name not in MEASURES:
        raise settings.UsageError(f"{name or 'nothing'!r} to measure: begin with one of {', '.join(MEASURES)}")
    commands.start_tensorflow()
    if name == "sample":
        from pixelvae_tf.benchmarks import table
    else:
        from pixelvae_tf.data.benchmarks import table

    rows = []
    for row in MEASURES[name]():
        rows.append(row)
        print(json.dumps({"benchmark": name, **row}), flush=True)
    print(table(rows), file=sys.stderr)


if __name__ == "__main__":
    commands.run(lambda: main(CHOSEN), __doc__)
