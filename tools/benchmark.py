"""Measures the speed and memory of a part of this package; prints a JSON line a measurement, then a table.

python tools/benchmark.py input --dataset=imagenet64 --image_size=64 --data_dir=DIR   reading prepared images
python tools/benchmark.py prepare --input=train_64x64.tar                             preparing them
python tools/benchmark.py sample --flagfile=flags/mnist.cfg --image_shape=28,28,1 --pixel_levels=2    sampling
python tools/benchmark.py size --flagfile=flags/imagenet64.cfg       what training it needs, by calculation; two steps
"""

import dataclasses
import json
import sys

from absl import flags

from pixelvae_tf import commands, files, settings
from pixelvae_tf.config import DataConfig, ModelConfig, RunConfig, TrainConfig

# The first word, before the flags: each measurement has its own.
CHOSEN = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else ""
OUTPUT = flags.DEFINE_string("output", None, "JSON file for the measurements and where they were made.")
if CHOSEN in ("sample", "size"):
    settings.define_config_flags()
    IMAGE_SHAPE = flags.DEFINE_list("image_shape", ["28", "28", "1"], "Height, width and colors of the images.")
    PIXEL_LEVELS = flags.DEFINE_integer("pixel_levels", 2, "Values that a pixel can take.")
    MEASURED_BATCH_SIZE = flags.DEFINE_integer("measured_batch_size", 2, "size: images of each step that is taken.")
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
    return benchmarks.table, benchmarks.measure_reading(config, batch_size=BATCH_SIZE.value, images=IMAGES.value)


def measure_prepare():
    from pixelvae_tf.data import benchmarks

    return benchmarks.table, benchmarks.measure_preparing(INPUT.value, IMAGE_SIZE.value)


def model_config() -> ModelConfig:
    """The model of the flags, whose images are of --image_size in color, else of --image_shape."""
    side = settings.values_of(DataConfig)["image_size"]
    shape = (side, side, 3) if side else settings.integers("image_shape", IMAGE_SHAPE.value)
    levels = 256 if side else PIXEL_LEVELS.value
    return ModelConfig(image_shape=shape, pixel_levels=levels, **settings.values_of(ModelConfig))


def measure_sample():
    from pixelvae_tf import benchmarks

    config = model_config()
    batch_sizes = settings.integers("batch_sizes", BATCH_SIZES.value)
    return benchmarks.table, benchmarks.measure_sampling(config, batch_sizes, NAIVE_PASSES.value, CALLS.value)


def measure_size():
    from pixelvae_tf import model_size, training

    if MEASURED_BATCH_SIZE.value < 1:
        raise settings.UsageError(f"--measured_batch_size={MEASURED_BATCH_SIZE.value}: use 1 or more")
    run = RunConfig(model_config(), training=TrainConfig(**settings.values_of(TrainConfig)))

    def build(precision: str):
        steps = dataclasses.replace(run.training, mixed_precision=precision)
        return training.build_model(dataclasses.replace(run, training=steps))

    return model_size.table, model_size.measure(build, run.training.batch_size, MEASURED_BATCH_SIZE.value)


# From a name to what measures: it gives how its rows are shown, and the rows as they come.
MEASURES = {"input": measure_input, "prepare": measure_prepare, "sample": measure_sample, "size": measure_size}


def main(name: str) -> None:
    if name not in MEASURES:
        raise settings.UsageError(f"{name or 'nothing'!r} to measure: begin with one of {', '.join(MEASURES)}")
    output = None if OUTPUT.value is None else files.check_output(OUTPUT.value, "output")
    commands.start_tensorflow(commands.sampling_threads if name == "sample" else None)
    from pixelvae_tf.runs import environment

    table, measurements = MEASURES[name]()
    rows = []
    for row in measurements:
        rows.append(row)
        print(json.dumps({"benchmark": name, **row}), flush=True)
    if output is not None:
        files.write_json(output, {"benchmark": name, "rows": rows, **environment()})
    print(table(rows), file=sys.stderr)


if __name__ == "__main__":
    commands.run(lambda: main(CHOSEN), __doc__)
