"""Compresses a split with a trained model and with general methods, restores it, and records sizes and times.

python tools/compression_record.py --pretrained=digits [--split=test] [--max_examples=N] [--output=FILE] prints one JSON
object. It ends with an error if a restored image differs.
"""

import json
import pathlib
import time

import _installed  # noqa: F401
from absl import flags

from pixelvae_tf import files, processor
from pixelvae_tf.commandline import program
from pixelvae_tf.commandline.flags import define_data_dir_flag, define_model_flags, split_data, trained_model
from pixelvae_tf.compression import container, support
from pixelvae_tf.runs.environment import environment
from pixelvae_tf.runs.trained import find_trained, load_best

define_model_flags()
SPLIT = flags.DEFINE_enum("split", "test", ["train", "validation", "test"], "Split to compress.")
define_data_dir_flag()
MAX_EXAMPLES = flags.DEFINE_integer("max_examples", 0, "Compress this many images, from the first on; 0 for all.", 0)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Images side by side in the networks.", 1)
OUTPUT = flags.DEFINE_string("output", None, "JSON file to write, in addition to the output.")

# Images whose bound is timed.
_SCORED = 2000


def main() -> None:
    output = None if OUTPUT.value is None else files.check_output(OUTPUT.value, "output")
    trained = find_trained(trained_model())
    support.library()
    program.start_tensorflow(program.sampling_threads)
    from pixelvae_tf.evaluation import general_compression

    model, best = load_best(trained)
    images = _images(split_data(trained.config().data))
    rows = general_compression.sizes(images, model.config.pixel_levels)
    ours = _ours(model, images) | _importance_estimate(trained, best, len(images))
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
    import numpy as np

    from pixelvae_tf import data

    with data.reading(config):
        batches = data.evaluation_batches(config, SPLIT.value, batch_size=1000, max_examples=MAX_EXAMPLES.value)
        return np.concatenate([batch.numpy() for batch in batches])


def _ours(model, images) -> dict:
    """Returns the sizes of the model's code, and rates of both directions and of a full pass, after the first batch.

    Rates use CPU time, which other programs on the machine affect least.
    """
    from pixelvae_tf.compression.lossless import Compressor

    compressor, size = Compressor(model), min(BATCH_SIZE.value, len(images))
    clock = _Clock()
    compressed = compressor.compress(images, batch_size=size, parts=processor.cores(), on_group=clock.after)
    rates = {"compressed_a_second": clock.rate()}
    stored, clock = container.unpack(compressed.data, pathlib.Path("memory")), _Clock()
    if compressor.decompress(stored, pathlib.Path("memory"), clock.after).tobytes() != images.tobytes():
        raise files.FileError("the restored images differ from the compressed ones: please report this")
    rates["restored_a_second"], clock = clock.rate(), _Clock()
    label = 0 if model.config.num_classes else None
    for start in range(0, min(len(images), _SCORED), size):
        clock.after(len(model.elbo(images[start : start + size], label=label).elbo))
    rates["scored_a_second"] = clock.rate()
    return {**compressed.record, **rates}


def _importance_estimate(trained, best: dict, num_images: int) -> dict:
    """Returns the importance estimate of the same images with the same weights, if these were evaluated.

    That of a model of classes is given the true classes, and does not compare.
    """
    if trained.config().model.num_classes:
        return {}
    try:
        evaluated = trained.record()["evaluations"].get(SPLIT.value, {})
    except files.FileError:  # A run that is not finished.
        return {}
    is_same = (evaluated.get("num_examples"), evaluated.get("checkpoint_step")) == (num_images, best["step"])
    name = "importance_bits_per_dim"
    return {name: evaluated[name]} if is_same and name in evaluated else {}


class _Clock:
    """Counts images and CPU seconds after the first call."""

    def __init__(self):
        self.images, self.started, self.ended = 0, None, 0.0

    def after(self, images: int) -> None:
        self.ended = time.process_time()
        if self.started is None:
            self.started = self.ended
        else:
            self.images += images

    def rate(self) -> float | None:
        """Returns images per second of one core; None if there was only one group."""
        return round(self.images / (self.ended - self.started), 2) if self.images else None


if __name__ == "__main__":
    program.run(main, __doc__)
