"""Compares a prepared dataset with its own checksums and counts, and looks for duplicate images.

python tools/check_dataset.py --dataset=imagenet64 --data_dir=DIR prints one JSON object. It ends with exit code 1 if a
file is damaged or a name occurs twice. Images with identical pixels are only counted: the source may contain some.
"""

import json
import sys

import _installed  # noqa: F401
import tqdm
from absl import flags

from pixelvae_tf.commandline import program
from pixelvae_tf.config import DataConfig
from pixelvae_tf.data import prepared
from pixelvae_tf.data.schema import DataError

DATASET = flags.DEFINE_enum("dataset", None, sorted(prepared.NAMES), "Dataset to check.", required=True)
DATA_DIR = flags.DEFINE_string("data_dir", "", "Folder of prepared data; by default TFDS_DATA_DIR.")
IMAGE_SIZE = flags.DEFINE_integer("image_size", 0, "Side of the images, if the folder holds several sizes.", 0)


def main() -> None:
    config = DataConfig(dataset=DATASET.value, data_dir=DATA_DIR.value, image_size=IMAGE_SIZE.value)
    program.start_tensorflow()
    from pixelvae_tf.data import checking

    with tqdm.tqdm(unit="image", disable=None, file=sys.stderr) as bar:
        found = checking.check(config, bar.update)
    print(json.dumps(found), flush=True)
    wrong = [*found["damaged"], *(f"{name!r} occurs twice" for name in found["doubled"])]
    if wrong:
        raise DataError(f"{found['folder']}: {wrong[0]} ({len(wrong)} problems in total); prepare it again")


if __name__ == "__main__":
    program.run(main, __doc__)
