"""Compresses images without loss, with a trained model; prints one JSON object with the sizes.

python -m pixelvae_tf.decompress restores the same images, with the same model, on the same kind of machine.
"""

import json
import pathlib
import sys

import tqdm
from absl import flags

from pixelvae_tf import files, processor
from pixelvae_tf.commandline import program
from pixelvae_tf.commandline.flags import (
    UsageError,
    define_data_dir_flag,
    define_model_flags,
    split_data,
    trained_model,
)
from pixelvae_tf.compression import support
from pixelvae_tf.data import image_files
from pixelvae_tf.runs.environment import environment
from pixelvae_tf.runs.trained import find_trained, load_best

define_model_flags()
SPLIT = flags.DEFINE_enum(
    "split", "test", ["train", "validation", "test"], "Split to compress, of the dataset that the model was trained on."
)
INPUT = flags.DEFINE_string(
    "input",
    None,
    "In place of a split: an image, a folder of images at any depth, or a .npy file of integers 0..levels-1, (images, "
    "height, width, colors). Images that would lose information are refused: those of another size than the model's, "
    "transparent images, and images with pixels between the levels of the model.",
)
define_data_dir_flag()
MAX_EXAMPLES = flags.DEFINE_integer("max_examples", 0, "Compress this many images, from the first on; 0 for all.", 0)
OUTPUT = flags.DEFINE_string("output", "", "File to write, such as images.pvae.")
BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 128, "Images side by side in the networks. More are faster, and take more memory.", 1
)


def main() -> None:
    output = files.check_output(OUTPUT.value, "output")
    given = None
    if INPUT.value is not None:
        if SPLIT.present or flags.FLAGS["data_dir"].present:
            raise UsageError("--input: replaces a split; leave out --split and --data_dir")
        given = image_files.find(INPUT.value, "input") if not INPUT.value.endswith(".npy") else (None, ())
    trained = find_trained(trained_model())
    config = trained.config()
    support.library()
    program.start_tensorflow(program.sampling_threads)
    from pixelvae_tf.compression.lossless import Compressor

    model, _ = load_best(trained)
    images, names = _of_split(split_data(config.data)) if given is None else _of_input(*given, config.model)
    with tqdm.tqdm(total=len(images), unit="image", disable=None, file=sys.stderr) as bar:
        compressed = Compressor(model).compress(
            images, batch_size=BATCH_SIZE.value, names=names, parts=processor.cores(), on_group=bar.update
        )
    with files.replacing(output) as temporary:
        temporary.write_bytes(compressed.data)
    source = {"input": INPUT.value} if given else {"split": SPLIT.value, "dataset": config.data.dataset}
    print(json.dumps({**source, **compressed.record, **environment()}))


def _of_split(config):
    """Returns the images of a split, without names."""
    import numpy as np

    from pixelvae_tf import data

    with data.reading(config):
        batches = data.evaluation_batches(config, SPLIT.value, batch_size=1024, max_examples=MAX_EXAMPLES.value)
        return np.concatenate([batch.numpy() for batch in batches]), ()


def _of_input(folder, names, config):
    """Returns the images of an array or of image files, and the names of these."""
    if folder is None:
        return image_files.read_array(pathlib.Path(INPUT.value))[: MAX_EXAMPLES.value or None], ()
    names = names[: MAX_EXAMPLES.value or None]
    return image_files.read_exactly(folder, names, config.image_shape, config.pixel_levels), names


if __name__ == "__main__":
    program.run(main, __doc__)
