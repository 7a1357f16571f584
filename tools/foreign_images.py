"""Writes images unlike a model's training images as PNG files, for evaluate --input and tools/anomaly.py.

python tools/foreign_images.py --dataset=digits --kind=upside_down --output=DIR
"""

import pathlib

import _installed  # noqa: F401
import numpy as np
from absl import flags

from pixelvae_tf import files
from pixelvae_tf.commandline import program
from pixelvae_tf.commandline.flags import UsageError

DATASET = flags.DEFINE_string("dataset", "digits", "Dataset that the model was trained on, by name.")
DATA_DIR = flags.DEFINE_string("data_dir", "", "Folder of prepared data.")
SPLIT = flags.DEFINE_enum("split", "test", ["train", "validation", "test"], "Split whose images to change.")
KIND = flags.DEFINE_enum(
    "kind",
    "upside_down",
    ["upside_down", "mirrored", "noisy", "photographs"],
    "upside_down: rotated by 180 degrees; mirrored: left and right swapped; noisy: a tenth of the pixels replaced by "
    "uniformly random levels; photographs: the same number of crops from the two photographs in scikit-learn, with the "
    "same size and rounded to the same levels.",
)
MAX_EXAMPLES = flags.DEFINE_integer("max_examples", 0, "Change only the first so many images; 0 for all.", 0)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the noise and of the crops.", 0)
OUTPUT = flags.DEFINE_string("output", "", "Folder to create; it must not exist.")

_REDRAWN = 0.1
_REDUCTION = 4  # pixels of a photograph along a side of one pixel


def changed(kind: str, images: np.ndarray, levels: int, seed: int) -> np.ndarray:
    """Makes foreign images with the shape of `images`: (batch, height, width, colors), 0..levels-1."""
    rng = np.random.default_rng(seed)
    if kind == "upside_down":
        return images[:, ::-1, ::-1]
    if kind == "mirrored":
        return images[:, :, ::-1]
    if kind == "noisy":
        return np.where(rng.random(images.shape) < _REDRAWN, rng.integers(levels, size=images.shape), images)
    return _crops_of_photographs(images.shape, levels, rng)


def _crops_of_photographs(shape: tuple[int, ...], levels: int, rng: np.random.Generator) -> np.ndarray:
    from sklearn.datasets import load_sample_images

    photographs = [photograph.astype("float32") / 255.0 for photograph in load_sample_images().images]
    count, height, width, colors = shape
    crops = np.empty(shape, "float32")
    for index in range(count):
        photograph = photographs[rng.integers(len(photographs))]
        top, left = (
            rng.integers(whole - side * _REDUCTION + 1)
            for whole, side in zip(photograph.shape[:2], (height, width), strict=True)
        )
        crop = photograph[top : top + height * _REDUCTION, left : left + width * _REDUCTION]
        small = crop.reshape(height, _REDUCTION, width, _REDUCTION, 3).mean(axis=(1, 3))
        crops[index] = small if colors == 3 else small.mean(axis=-1, keepdims=True)
    return np.round(crops * (levels - 1))


def main() -> None:
    if OUTPUT.value and pathlib.Path(OUTPUT.value).exists():
        raise UsageError(f"--output={OUTPUT.value}: exists; name a new folder")
    output = files.check_output(OUTPUT.value, "output")
    program.start_tensorflow()
    from PIL import Image

    from pixelvae_tf import data
    from pixelvae_tf.config import DataConfig
    from pixelvae_tf.evaluation import pictures

    config = DataConfig(dataset=DATASET.value, data_dir=DATA_DIR.value)
    levels = data.describe(config).pixel_levels
    images = data.load(config, SPLIT.value)[: MAX_EXAMPLES.value or None]
    foreign = pictures.as_bytes(changed(KIND.value, images, levels, SEED.value), levels)
    with files.replacing_folder(output) as folder:
        for index, image in enumerate(foreign):
            Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(folder / f"{index:05d}.png")
    print(f"{len(foreign)} images in {output}")


if __name__ == "__main__":
    program.run(main, __doc__)
