"""What a dataset is to the rest of the package, and how it says that it cannot be read."""

from __future__ import annotations

import dataclasses

from pixelvae_tf.errors import UserError

SPLITS = ("train", "validation", "test")


class DataError(UserError):
    """Images that cannot be had; the message is one line that names the place and the remedy."""


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """The facts of a dataset.

    Attributes:
        name: as `--dataset` names it.
        image_shape: height, width, colors.
        pixel_levels: pixels are integers 0..levels-1.
        num_examples: images in each split.
    """

    name: str
    image_shape: tuple[int, int, int]
    pixel_levels: int
    num_examples: dict[str, int]
