"""Image files that a user names: found, decoded, and brought to the shape and the levels of a model."""

from __future__ import annotations

import concurrent.futures
import os
import pathlib
import posixpath
from collections.abc import Iterator

import numpy as np
from PIL import Image

from pixelvae_tf.data import pixels
from pixelvae_tf.data.schema import DataError


def is_image(name: str) -> bool:
    """Whether a file is taken for an image, by its name."""
    base = posixpath.basename(name)
    return base.lower().endswith(pixels.SUFFIXES) and not base.startswith(".")


def list_images(folder: pathlib.Path) -> list[str]:
    """Paths of the image files under a folder, relative to it, sorted, with / between parts."""
    found = []
    for place, _, names in os.walk(folder, followlinks=True):
        relative = pathlib.Path(place).relative_to(folder)
        found += [(relative / name).as_posix() for name in names if is_image(name)]
    return sorted(found)


def find(path: str, flag: str) -> tuple[pathlib.Path, list[str]]:
    """The images that a path stands for.

    Args:
        path: an image file, or a folder with images at any depth.
        flag: that gave it, for messages.

    Returns:
        A folder, and paths of the images relative to it, sorted.

    Raises:
        DataError: where there is no such file or folder, or no image in it.
    """
    if not path:
        raise DataError(f"--{flag} is empty: name an image or a folder of images")
    place = pathlib.Path(path).expanduser()
    if place.is_file():
        return place.parent, [place.name]
    if not place.is_dir():
        raise DataError(f"--{flag}={path}: no such file or folder")
    names = list_images(place)
    if not names:
        raise DataError(f"--{flag}={path}: holds no images (files whose names end in .jpg, .png and the like)")
    return place, names


def read(path: pathlib.Path, image_shape: tuple[int, int, int], pixel_levels: int, *, resize: bool) -> np.ndarray:
    """An image file as a model takes it.

    Args:
        path: of a file of any format, size and color.
        image_shape: height, width and colors of the result; one color is grey.
        pixel_levels: values that a pixel of the result can take: the nearest of as many evenly spaced ones, so that
            two mean black and white, parted at half.
        resize: for a square model take the central square of an image of another size, each pixel the mean of the
            area that it covers.

    Returns:
        (height, width, colors) uint8, 0..levels-1.

    Raises:
        DataError: for a file that cannot be read or, without `resize`, is of another size.
    """
    height, width, colors = image_shape
    image = _decoded(path, colors)
    if resize and height == width:
        return _to_levels(pixels.square(image, height), pixel_levels)
    _check_size(path, image, height, width, "resize it, or pass --resize to take its central square")
    return _to_levels(np.asarray(image).reshape(image_shape), pixel_levels)


def read_mask(path: pathlib.Path, height: int, width: int) -> np.ndarray:
    """A black and white picture as (height, width) bool, True where it is white. Raises DataError as `read`."""
    image = _decoded(path, colors=1)
    _check_size(path, image, height, width, "draw the mask at that size")
    return _to_levels(np.asarray(image), 2).astype(bool)


def batches(
    folder: pathlib.Path, names: list[str], image_shape: tuple[int, int, int], pixel_levels: int, batch_size: int
) -> Iterator[np.ndarray]:
    """Named images of any size in their order, in arrays of at most `batch_size`; see `read`, with `resize`."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for start in range(0, len(names), batch_size):
            part = names[start : start + batch_size]
            found = pool.map(lambda name: read(folder / name, image_shape, pixel_levels, resize=True), part)
            yield np.stack(list(found))


def _decoded(path: pathlib.Path, colors: int) -> Image.Image:
    try:
        return pixels.decode(path.read_bytes(), colors)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); restore or remove it") from None
    except pixels.PixelError as error:
        raise DataError(f"{path}: {error}; restore or remove it") from None


def _check_size(path: pathlib.Path, image: Image.Image, height: int, width: int, remedy: str) -> None:
    if image.size != (width, height):
        raise DataError(
            f"{path}: {image.width} wide and {image.height} high, where the model takes {width} and {height}; {remedy}"
        )


def _to_levels(values: np.ndarray, pixel_levels: int) -> np.ndarray:
    """0..255 to the nearest of 0..levels-1: what `pictures.as_bytes` made of levels comes back exactly."""
    return np.round(values * ((pixel_levels - 1) / 255.0)).astype("uint8")
