"""How a dataset describes itself and its images to the rest of the package, and the error for unreadable data."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

from pixelvae_tf.errors import UserError

SPLITS = ("train", "validation", "test")


class DataError(UserError):
    """Images are missing or unreadable. The message is one line that names the place and the remedy."""


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """The facts of a dataset.

    Attributes:
        name: the value of `--dataset`.
        image_shape: height, width, colors.
        pixel_levels: pixels are integers 0..levels-1.
        num_examples: images in each split.
        variant: how the images were made, if there are several ways. Likelihoods compare only within one variant.
    """

    name: str
    image_shape: tuple[int, int, int]
    pixel_levels: int
    num_examples: dict[str, int]
    variant: str = ""


@dataclasses.dataclass(frozen=True)
class Classes:
    """The classes of a dataset, in the order of their labels 0, 1, ...

    Attributes:
        names: the names of the classes.
        images: the number of training images of each class.
    """

    names: tuple[str, ...]
    images: tuple[int, ...]

    @classmethod
    def of_record(cls, record: dict[str, list]) -> Classes:
        """Inverts `dataclasses.asdict`, also after a round trip through JSON."""
        return cls(tuple(map(str, record["names"])), tuple(map(int, record["images"])))


@dataclasses.dataclass(frozen=True)
class ImageSource:
    """The encoded images of a split, for the pipeline to order and read.

    A record is an image before it is decoded: its serialized example, its file name, or its number.

    Attributes:
        shard_lengths: records in each shard.
        image_shape: height, width, colors.
        read: maps an int64 tensor of shard numbers to a tf.data.Dataset of their records, shard by shard.
        decode: maps a vector of records to (records, height, width, colors) uint8.
        files: the files of the images, if they are on disk.
        labels: maps a vector of records to their classes, (records,) int32; None without labels.
    """

    shard_lengths: tuple[int, ...]
    image_shape: tuple[int, int, int]
    read: Callable[[Any], Any]
    decode: Callable[[Any], Any]
    files: tuple[pathlib.Path, ...] = ()
    labels: Callable[[Any], Any] | None = None
