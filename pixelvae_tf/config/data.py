"""The settings of a dataset."""

from __future__ import annotations

import dataclasses

from pixelvae_tf.config.base import Config, require, setting


@dataclasses.dataclass(frozen=True)
class DataConfig(Config):
    """Which images to use: the name of a dataset and the folder of its prepared files."""

    dataset: str = setting(
        "digits", "Dataset by name: digits, binarized_mnist, mnist, lsun_bedroom, imagenet64 or image_folder."
    )
    data_dir: str = setting(
        "",
        "Folder of prepared TensorFlow Datasets; empty for TFDS_DATA_DIR or ~/tensorflow_datasets. For "
        "image_folder, the folder of your images.",
        resumable=True,
    )
    image_size: int = setting(
        0,
        "Height and width of the images: 32 or 64 for lsun_bedroom and imagenet64, any number for image_folder, which "
        "crops and resizes to this size; 0 for the dataset's own size.",
    )
    data_variant: str = setting(
        "", "Required variant of a prepared dataset, as its metadata.json names it; empty accepts any variant."
    )
    on_error: str = setting(
        "fail",
        "What image_folder does with a file that cannot be read: 'fail' names it when it is reached; 'skip' reads all "
        "images once before the first step, and leaves out and counts those.",
        choices=("fail", "skip"),
        resumable=True,
    )
    cache: bool = setting(
        False,
        "Keep the training images in memory. This changes speed and memory, not the batches.",
        resumable=True,
    )

    def __post_init__(self):
        super().__post_init__()
        require(self.image_size >= 0, "image_size", self.image_size, "use 0 or more")
