"""Holds a prepared dataset against its own checksums and counts, and looks for images that stand in it twice.

python tools/check_dataset.py --dataset=imagenet64 --data_dir=DIR; prints one JSON object, and ends with exit code 1
where a file is damaged or a name stands twice. Images alike in every pixel are counted: a source may hold such.
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

DATASET = flags.DEFINE_enum("dataset", None, sorted(prepared.NAMES), "Which dataset.", required=True)
DATA_DIR = flags.DEFINE_string("data_dir", "", "Folder of prepared data; TFDS_DATA_DIR where it is left out.")
IMAGE_SIZE = flags.DEFINE_integer("image_size", 0, "Side of the images, where the folder holds several sizes.", 0)


def main() -> None:
    config = DataConfig(dataset=DATASET.value, data_dir=DATA_DIR.value, image_size=IMAGE_SIZE.value)
    program.start_tensorflow()
    from pixelvae_tf.data import checking

    with tqdm.tqdm(unit="image", disable=None, file=sys.stderr) as bar:
        found = checking.check(config, bar.update)
    print(json.dumps(found), flush=True)
    wrong = [*found["damaged"], *(f"{name!r} stands twice" for name in found["doubled"])]
    if wrong:
        raise DataError(f"{found['folder']}: {wrong[0]} ({len(wrong)} faults in all); prepare it again")


if __name__ == "__main__":
    program.run(main, __doc__)
