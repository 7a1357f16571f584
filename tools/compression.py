"""Compresses a split with a trained model and with general methods, restores it, and records sizes and times.

python tools/compression.py --pretrained=digits [--split=test] [--max_examples=N] [--output=FILE] prints one JSON
object. It ends with an error if a restored image differs.
"""

import json
import time

import _installed  # noqa: F401
from absl import flags

from pixelvae_tf import files, processor
from pixelvae_tf.commandline import program
from pixelvae_tf.commandline.flags import define_model_flags, trained_model
from pixelvae_tf.compression import container, support
from pixelvae_tf.runs.environment import environment
from pixelvae_tf.runs.trained import find_trained, load_best

define_model_flags()
SPLIT = flags.DEFINE_enum("split", "test", ["train", "validation", "test"], "Split to compress.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of prepared data, if it differs from that of the training.")
MAX_EXAMPLES = flags.DEFINE_integer("max_examples", 0, "Compress this many images, from the first on; 0 for all.", 0)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Images side by side in the networks.", 1)
OUTPUT = flags.DEFINE_string("output", None, "JSON file to write, in addition to the output.")


def main() -> None:
    output = None if OUTPUT.value is None else files.check_output(OUTPUT.value, "output")
    trained = find_trained(trained_model())
    support.check(trained.config().model)
    program.start_tensorflow(program.sampling_threads)
    from pixelvae_tf.evaluation import general_compression

    model, _ = load_best(trained)
    images = _images(trained.config().data)
    rows = general_compression.sizes(images, model.config.pixel_levels)
    ours = _ours(model, images)
    record = {
        "dataset": trained.config().data.dataset,
        "split": SPLIT.value,
        "model": getattr(trained, "name", None) or str(trained.workdir.name),
        "num_images": len(images),
        "image_shape": list(images.shape[1:]),
        "pixel_levels": model.config.pixel_levels,
        "others": rows,
        "ours": ours,
        **environment(),
    }
    print(json.dumps(record))
    if output is not None:
        files.write_json(output, record)


def _images(config):
    import dataclasses

    import numpy as np

    from pixelvae_tf import data

    if DATA_DIR.value is not None:
        config = dataclasses.replace(config, data_dir=DATA_DIR.value)
    with data.reading(config):
        batches = data.evaluation_batches(config, SPLIT.value, batch_size=1000, max_examples=MAX_EXAMPLES.value)
        return np.concatenate([batch.numpy() for batch in batches])


def _ours(model, images) -> dict:
    """Sizes and times of the model's code, each direction once before its time is taken."""
    import pathlib

    from pixelvae_tf.compression.lossless import Compressor

    compressor, path, options = Compressor(model), pathlib.Path("memory"), {"parts": processor.cores()}
    size = min(BATCH_SIZE.value, len(images))
    few = compressor.compress(images[:size], batch_size=size)
    compressor.decompress(container.unpack(few.data, path), path)
    compressed = compressor.compress(images, batch_size=size, **options)
    started = time.perf_counter()
    restored = compressor.decompress(container.unpack(compressed.data, path), path)
    seconds = time.perf_counter() - started
    if restored.tobytes() != images.tobytes():
        raise files.FileError("the restored images differ from the compressed ones: please report this")
    started = time.perf_counter()
    for start in range(0, len(images), size):
        model.elbo(images[start : start + size])
    forward = time.perf_counter() - started
    return {**compressed.record, "restore_seconds": round(seconds, 3), "forward_seconds": round(forward, 3)}


if __name__ == "__main__":
    program.run(main, __doc__)
