"""Prepares an LSUN database for training: reads LSUN's LMDB as it is, writes TensorFlow Datasets shards.

python tools/prepare_lsun.py --lmdb=bedroom_train_lmdb --output=DIR --split=train --deduplicate, then the same with
bedroom_val_lmdb for validation, then train with --dataset=lsun_bedroom --data_dir=DIR. Prints one JSON object.
"""

import json
import sys

import _installed  # noqa: F401
import tqdm
from absl import flags

from pixelvae_tf.commandline import program
from pixelvae_tf.data.preparation import lsun

LMDB = flags.DEFINE_string("lmdb", "", "Folder of the LMDB database (the one that holds data.mdb).")
OUTPUT = flags.DEFINE_string("output", "", "Folder to write the prepared data to; train takes it as --data_dir.")
SPLIT = flags.DEFINE_enum("split", "train", ["train", "validation", "test"], "Split that the images become.")
IMAGE_SIZE = flags.DEFINE_enum("image_size", "64", ["32", "64"], "Side of the images; 32 is the 2x2 mean of 64.")
DEDUPLICATE = flags.DEFINE_bool(
    "deduplicate",
    False,
    "Remove near-duplicates as the paper does, by an autoencoder's 128-bit semantic hash. "
    "Their keys, each with the key it collides with, go to removed-SPLIT.tsv in the dataset's folder.",
)
TOLERANCE = flags.DEFINE_integer(
    "tolerance", 2, "Number of the 128 bits in which two hashes may differ and still collide; 0 requires equal hashes."
)
STEPS = flags.DEFINE_integer(
    "autoencoder_steps",
    0,
    "Training steps of the autoencoder, of 64 images each; 0 for one epoch, but at least 1000 steps.",
)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the autoencoder.")
ON_ERROR = flags.DEFINE_enum(
    "on_error",
    "fail",
    ["fail", "skip"],
    "Unreadable images: 'fail' ends with an error that names the image; 'skip' leaves them out and counts them.",
)


def main() -> None:
    program.end_tidily_on_signals()
    request = lsun.LsunRequest(
        LMDB.value,
        OUTPUT.value,
        SPLIT.value,
        image_size=int(IMAGE_SIZE.value),
        deduplicate=DEDUPLICATE.value,
        tolerance=TOLERANCE.value,
        autoencoder_steps=STEPS.value,
        seed=SEED.value,
        on_error=ON_ERROR.value,
    )
    lsun.check(request)
    program.start_tensorflow()
    with tqdm.tqdm(unit="image", disable=None, file=sys.stderr) as bar:
        print(json.dumps(lsun.prepare(request, bar.update)))


if __name__ == "__main__":
    program.run(main, __doc__)
