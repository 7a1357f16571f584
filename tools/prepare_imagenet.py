"""Prepares ImageNet at 64x64 or 32x32 for training: reads archives as they are, writes TensorFlow Datasets shards.

python tools/prepare_imagenet.py --input=train_64x64.tar --output=DIR --split=train, then the same for validation,
then train with --dataset=imagenet64 --data_dir=DIR. Prints one JSON object.
"""

import json
import sys

import _installed  # noqa: F401
import tqdm
from absl import flags

from pixelvae_tf.commandline import program
from pixelvae_tf.data.preparation import imagenet

INPUT = flags.DEFINE_string(
    "input",
    "",
    "The small-ImageNet tar, an ILSVRC2012 tar, a folder, tar or zip of images, or the downloaded batches "
    "(one of them, a folder or a zip archive). If a folder holds several splits, only --split is read.",
)
OUTPUT = flags.DEFINE_string("output", "", "Folder to write the prepared data to; train takes it as --data_dir.")
SPLIT = flags.DEFINE_enum("split", "train", ["train", "validation", "test"], "Split that the images become.")
IMAGE_SIZE = flags.DEFINE_enum("image_size", "64", ["32", "64"], "Side of the images; 32 is the 2x2 mean of 64.")
VARIANT = flags.DEFINE_string(
    "variant",
    "",
    "Name of the down-sampling, which every evaluation records; empty to detect it from the input: "
    "vandenoord, chrabaszcz, chrabaszcz-32x32, ilsvrc2012-area or other.",
)
RESIZE = flags.DEFINE_enum(
    "resize",
    "auto",
    ["auto", "none", "area"],
    "Images of another size than 64x64: 'none' refuses them, 'area' "
    "crops the central square and averages areas, 'auto' is 'area' for ILSVRC2012 photographs and 'none' otherwise.",
)
ON_ERROR = flags.DEFINE_enum(
    "on_error",
    "fail",
    ["fail", "skip"],
    "Damaged images and archives: 'fail' ends with an error that names the image; 'skip' leaves them out and counts "
    "them.",
)


def main() -> None:
    program.end_tidily_on_signals()
    request = imagenet.ImageNetRequest(
        INPUT.value,
        OUTPUT.value,
        SPLIT.value,
        image_size=int(IMAGE_SIZE.value),
        variant=VARIANT.value,
        resize=RESIZE.value,
        on_error=ON_ERROR.value,
    )
    imagenet.check(request)
    program.start_tensorflow()
    with tqdm.tqdm(unit="image", disable=None, file=sys.stderr) as bar:
        print(json.dumps(imagenet.prepare(request, bar.update)))


if __name__ == "__main__":
    program.run(main, __doc__)
