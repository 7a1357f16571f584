"""Reads every image in a folder once, as training would, and reports problems before a long training.

python tools/check_images.py --data_dir=photos prints one JSON object: the number of images in each split, which files
are skipped and why, and every image that cannot be read. It ends with exit code 1 if there is any.
"""

import json
import sys

import _installed  # noqa: F401
import tqdm
from absl import flags

from pixelvae_tf.commandline import program
from pixelvae_tf.data import image_folder
from pixelvae_tf.data.schema import DataError

DATA_DIR = flags.DEFINE_string("data_dir", "", "Folder of your images, as for training.")


def main() -> None:
    with tqdm.tqdm(unit="image", disable=None, file=sys.stderr) as bar:
        report = image_folder.check(DATA_DIR.value, bar.update)
    print(json.dumps(report, indent=2))
    if report["unusable"]:
        raise DataError(
            f"{len(report['unusable'])} images of {DATA_DIR.value} cannot be used; restore or remove them, or leave "
            "them out with --on_error=skip"
        )


if __name__ == "__main__":
    program.run(main, __doc__)
