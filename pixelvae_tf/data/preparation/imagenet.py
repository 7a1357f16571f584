"""Prepares ImageNet at 64x64 or 32x32 from any of its published formats."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import pathlib
import posixpath
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pixelvae_tf.data import image_files, pixels
from pixelvae_tf.data.preparation import archives, chrabaszcz
from pixelvae_tf.data.preparation.conversion import converted
from pixelvae_tf.data.preparation.memory import PeakMemory
from pixelvae_tf.data.preparation.problems import Problems
from pixelvae_tf.data.preparation.writer import Target, checked_input, checked_output, write_split
from pixelvae_tf.data.schema import DataError

_SIZE = 64
_DESCRIPTIONS = {
    "vandenoord": "The down-sampling of van den Oord et al. (2016), as published.",
    "chrabaszcz": "The down-sampling of Chrabaszcz et al. (2017), as published.",
    "chrabaszcz-32x32": "The down-sampling of Chrabaszcz et al. (2017) to 32x32, as published.",
    "ilsvrc2012-area": "Central squares of ILSVRC2012's photographs, every pixel the mean of the area it covers.",
}
_VAN_DEN_OORD = re.compile(r"(train|valid)_64x64/\d+\.png$")
_ILSVRC = re.compile(r"(.*/)?(n\d{8}/n\d{8}_\d+|ILSVRC2012_(val|test)_\d{8})\.JPEG$")


@dataclasses.dataclass(frozen=True)
class ImageNetRequest:
    """What to prepare.

    Attributes:
        input: a folder or archive of images, or the batches of Chrabaszcz et al. If a folder or batches hold several
            splits, only those of `split` are read.
        output: the folder to name as --data_dir in training.
        split: "train", "validation" or "test".
        image_size: 64; or 32, by rounded 2x2 means.
        variant: name of the down-sampling; empty to detect it from the input.
        resize: "none" to refuse images that are not 64x64, "area" to crop and resize them, "auto" for "area" with
            the photographs of ILSVRC2012 and "none" otherwise.
        on_error: "fail" or "skip".
    """

    input: str
    output: str
    split: str
    image_size: int = 64
    variant: str = ""
    resize: str = "auto"
    on_error: str = "fail"


def check(request: ImageNetRequest) -> tuple[pathlib.Path, pathlib.Path]:
    """Returns the input and the output after quick checks. Raises DataError if they cannot be used."""
    return checked_input(request.input, "input"), checked_output(request.output)


def prepare(request: ImageNetRequest, on_image: Callable[[], Any] = lambda: None) -> dict[str, Any]:
    """Prepares a split and returns its summary.

    Args:
        request: what to prepare.
        on_image: called for every image that is written.

    Raises:
        DataError: for an input that cannot be used or an output that cannot be written; the message names it.
    """
    started = time.monotonic()
    path, output = check(request)
    problems = Problems(request.on_error)
    folders: collections.Counter[str] = collections.Counter()
    variant, images = _open(path, request, problems, folders)
    variant = request.variant or variant
    description = _DESCRIPTIONS.get(variant, "")
    target = Target(output, "imagenet64", request.split, request.image_size, variant, description)
    with PeakMemory() as memory:
        count = write_split(
            target, images, lambda: {"source": path.name, **problems.record(), **_classes(folders)}, on_image
        )
    seconds = time.monotonic() - started
    return {
        "dataset": target.dataset,
        "split": request.split,
        "variant": variant,
        "image_size": request.image_size,
        "images": count,
        **problems.record(),
        "folder": str(target.folder),
        "seconds": round(seconds, 1),
        "images_per_second": round(count / seconds),
        "peak_memory_mib": memory.mib,
    }


def _classes(folders: collections.Counter[str]) -> dict[str, Any]:
    """Returns the metadata of the classes, which are the folders that images came from.

    As in Keras's `image_dataset_from_directory`, an image's class is its outermost folder that does not contain all
    images. Deeper folders belong to their class.

    Args:
        folders: number of images in each folder, a path in the input.

    Returns:
        `classes`: `images`, the number of images of each class, and `depth`, the number of folders above theirs. Empty
        if all images are in one folder, or some are in none.
    """
    if not folders or not all(folders):
        return {}
    outer = posixpath.commonpath(folders)
    if outer in folders:
        return {}
    depth = len(outer.split("/")) if outer else 0
    images: collections.Counter[str] = collections.Counter()
    for folder, count in folders.items():
        images[folder.split("/")[depth]] += count
    return {"classes": {"depth": depth, "images": dict(sorted(images.items()))}}


def _counted(images: Iterator[tuple[str, np.ndarray]], folders: collections.Counter[str]):
    """Yields the images, and counts each by its folder."""
    for name, image in images:
        # Encoded as the writer stores names.
        folders[posixpath.dirname(name).encode(errors="backslashreplace").decode()] += 1
        yield name, image


def _open(
    path: pathlib.Path, request: ImageNetRequest, problems: Problems, folders: collections.Counter[str]
) -> tuple[str, Iterator[tuple[str, np.ndarray]]]:
    """Returns the detected variant of the input, and its images, which are counted in `folders` while being read."""
    if chrabaszcz.has_batches(path):
        return _open_batches(path, request, problems)
    records = archives.read(path, request.split, problems)
    first = next(records, None)
    if first is None:
        raise image_files.no_images(f"--input={path}", problems.passed_over)
    variant = _variant(first[0])
    resize = request.resize == "area" or (request.resize == "auto" and variant == "ilsvrc2012-area")
    geometry = pixels.Geometry(
        request.image_size, source_size=0 if resize else _SIZE, halve=request.image_size * 2 == _SIZE
    )
    return variant, _counted(converted(itertools.chain([first], records), geometry, path, problems), folders)


def _open_batches(
    path: pathlib.Path, request: ImageNetRequest, problems: Problems
) -> tuple[str, Iterator[tuple[str, np.ndarray]]]:
    """Returns the same for the batches of Chrabaszcz et al., which were published at 64x64 and at 32x32."""
    chrabaszcz.check_whole(path)
    found = chrabaszcz.read_batches(path, problems, request.split)
    first = next(found, None)
    if first is None:
        raise DataError(f"--input={path}: holds no readable batch of images for --split={request.split}")
    side, size = len(first[1]), request.image_size
    if side < size:
        raise DataError(
            f"--input={path}: holds images of {side}x{side}; take them as they are with --image_size={side}"
        )

    def images() -> Iterator[tuple[str, np.ndarray]]:
        for name, image in itertools.chain([first], found):
            if len(image) == side:
                yield name, image if side == size else pixels.halve(image)
            else:
                problems.report(f"{path}: {name}", f"is {len(image)}x{len(image)} among images of {side}x{side}")

    return "chrabaszcz" if side == _SIZE else f"chrabaszcz-{side}x{side}", images()


def _variant(name: str) -> str:
    if _VAN_DEN_OORD.match(name):
        return "vandenoord"
    return "ilsvrc2012-area" if _ILSVRC.match(name) else "other"
