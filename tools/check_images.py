"""Reads every image of a folder once, as a training would, and reports what is wrong before a long training meets it.

python tools/check_images.py --data_dir=photos. Prints one JSON object: how many images each split has, what was
passed over and why, and every image that cannot be read. Ends with exit code 1 where there is any.
"""

import json
import sys

import _installed  # noqa: F401
import tqdm
from absl import flags

from pixelvae_tf.commandline import program
from pixelvae_tf.data import image_folder
from pixelvae_tf.data.schema import DataError

DATA_DIR = flags.DEFINE_string("data_dir", "", "Folder of your images, as a training takes it.")


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
