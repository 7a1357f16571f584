"""Measures speed and memory; prints a JSON line for each measurement, then a table.

python tools/benchmark.py step --flagfile=flags/mnist.cfg --implementation=ours,straightforward    training steps
python tools/benchmark.py profile --flagfile=flags/mnist.cfg          where a step spends its time
python tools/benchmark.py convergence --flagfile=flags/mnist.cfg --steps=500    how far training gets
python tools/benchmark.py outputs --flagfile=flags/mnist256.cfg --steps=500    the same by output distribution
python tools/benchmark.py scaling --flagfile=flags/mnist.cfg          how a step grows with layers, maps, images, sides
python tools/benchmark.py evaluate --flagfile=flags/mnist.cfg         the bound, and importance samples
python tools/benchmark.py sample --flagfile=flags/mnist.cfg           sampling
python tools/benchmark.py size --flagfile=flags/imagenet64.cfg        calculated needs of training; two steps
python tools/benchmark.py input --dataset=imagenet64 --image_size=64 --data_dir=DIR    reading prepared images
python tools/benchmark.py prepare --input=train_64x64.tar                              preparing them
"""

import dataclasses
import importlib
import json
import sys

import _installed  # noqa: F401
from absl import flags

from pixelvae_tf import data, files
from pixelvae_tf.benchmarks import requests
from pixelvae_tf.commandline import program
from pixelvae_tf.commandline.flags import (
    UsageError,
    define_config_flags,
    define_flags,
    first_word,
    run_of_flags,
    values_of,
)
from pixelvae_tf.config import RunConfig

# The subcommand comes before the flags, because each benchmark has its own flags.
CHOSEN = first_word()
REQUEST = requests.BY_NAME.get(CHOSEN)
OUTPUT = flags.DEFINE_string("output", None, "JSON file for the measurements, with the machine and versions.")
if REQUEST is not None:
    define_flags(REQUEST)
    if issubclass(REQUEST, requests.OfModel):
        define_config_flags()


def run_of(request: requests.OfModel) -> RunConfig:
    """Returns the run of the flags, for images of --image_shape, of --image_size in color, or of --dataset."""
    data_config = run_of_flags().data
    side = data_config.image_size
    if request.image_shape:
        shape, levels = request.image_shape, request.pixel_levels
    elif side:
        shape, levels = (side, side, 3), 256
    else:
        info = data.describe(data_config)
        shape, levels = info.image_shape, info.pixel_levels
    return run_of_flags(shape, levels)


def main() -> None:
    if REQUEST is None:
        raise UsageError(f"{CHOSEN or 'nothing'!r} to measure: begin with one of {', '.join(requests.BY_NAME)}")
    output = None if OUTPUT.value is None else files.check_output(OUTPUT.value, "output")
    request = REQUEST(**values_of(REQUEST))
    if isinstance(request, requests.OfModel):
        request = dataclasses.replace(request, run=run_of(request))
    program.start_tensorflow(
        program.sampling_threads if CHOSEN in ("sample", "profile") else None,
        in_training=CHOSEN not in ("sample", "evaluate"),
    )
    from pixelvae_tf.runs.environment import environment

    benchmark = importlib.import_module(f"pixelvae_tf.benchmarks.{CHOSEN}")
    rows = []
    for row in benchmark.measure(request):
        rows.append(row)
        print(json.dumps({"benchmark": CHOSEN, **row}), flush=True)
    if output is not None:
        # The output path says nothing about the measurement and may name a folder of this machine.
        given = [word for word in sys.argv[1:] if not word.startswith("--output=")]
        command = " ".join(["tools/benchmark.py", CHOSEN, *given])
        files.write_json(output, {"benchmark": CHOSEN, "command": command, "rows": rows, **environment()})
    print(benchmark.table(rows), file=sys.stderr)


if __name__ == "__main__":
    program.run(main, __doc__)
