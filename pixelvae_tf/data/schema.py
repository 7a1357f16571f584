"""What a dataset is to the rest of the package, and how it says that it cannot be read."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

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
        variant: how the images were made, where there are several ways; likelihoods compare within one alone.
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
        names: what they are called.
        images: training images of each.
    """

    names: tuple[str, ...]
    images: tuple[int, ...]

    @classmethod
    def of_record(cls, record: dict[str, list]) -> Classes:
        """What `dataclasses.asdict` made into JSON."""
        return cls(tuple(map(str, record["names"])), tuple(map(int, record["images"])))


@dataclasses.dataclass(frozen=True)
class ImageSource:
    """The images of a split as they lie on disk, for the pipeline to order and read.

    A record is an image before it is decoded: its serialized example, the name of its file, or its number.

    Attributes:
        shard_lengths: records in each shard.
        image_shape: height, width, colors.
        read: from an int64 tensor of shard numbers to a tf.data.Dataset of their records, shard by shard.
        decode: from a vector of records to (records, height, width, colors) uint8.
        files: where the images lie on disk.
        labels: from a vector of records to (records,) int32, the class of each; None where that was not asked for.
    """

    shard_lengths: tuple[int, ...]
    image_shape: tuple[int, int, int]
    read: Callable[[Any], Any]
    decode: Callable[[Any], Any]
    files: tuple[pathlib.Path, ...] = ()
    labels: Callable[[Any], Any] | None = None
