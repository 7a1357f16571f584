"""Finds the user's image files, decodes them, and converts them to the shape and pixel levels of a model."""

from __future__ import annotations

import concurrent.futures
import itertools
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from PIL import Image

from pixelvae_tf.data import pixels
from pixelvae_tf.data.listing import list_folder, shown, summed_up
from pixelvae_tf.data.schema import DataError

_CHECKED_AHEAD = 64


def find(path: str, flag: str) -> tuple[pathlib.Path, list[str]]:
    """Finds the images at a path.

    Args:
        path: an image file, or a folder with images at any depth.
        flag: the flag that named the path, for messages.

    Returns:
        A folder, and the sorted paths of the images relative to it.

    Raises:
        DataError: if there is no such file or folder, or no image in it.
    """
    if not path:
        raise DataError(f"--{flag} is empty: name an image or a folder of images")
    place = pathlib.Path(path).expanduser()
    if place.is_file():
        return place.parent, [place.name]
    if not place.is_dir():
        raise DataError(f"--{flag}={shown(path)}: no such file or folder")
    found = list_folder(place)
    if not found.names:
        raise no_images(f"--{flag}={shown(path)}", found.passed_over)
    return place, list(found.names)


def no_images(place: str, passed_over: dict[str, int]) -> DataError:
    """Returns the error for a folder or archive without images. It says what is there instead."""
    there = f"; it holds {summed_up(passed_over)}" if passed_over else ""
    return DataError(f"{place}: holds no images (files such as .jpg and .png){there}")


def problems(folder: pathlib.Path, names: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Decodes images on all cores. Yields each name in order, with what is wrong with the image, or None."""

    def check(name: str) -> str | None:
        try:
            pixels.decode((folder / name).read_bytes())
        except OSError as error:
            return f"cannot be read ({error.strerror})"
        except pixels.PixelError as error:
            return str(error)
        return None

    with concurrent.futures.ThreadPoolExecutor() as pool:
        remaining = iter(names)
        while names := list(itertools.islice(remaining, _CHECKED_AHEAD)):
            yield from zip(names, pool.map(check, names), strict=True)


def read(path: pathlib.Path, image_shape: tuple[int, int, int], pixel_levels: int, *, resize: bool) -> np.ndarray:
    """Reads an image file and converts it to what a model expects.

    Args:
        path: an image file of any format, size and color.
        image_shape: height, width and colors of the result; one color is grey.
        pixel_levels: the number of evenly spaced values that a pixel of the result can take. Each pixel becomes the
            nearest one; two levels are black and white with the threshold at half.
        resize: if the model is square, crop the central square and resize it; each pixel is the mean of the area
            that it covers.

    Returns:
        (height, width, colors) uint8, 0..levels-1.

    Raises:
        DataError: for a file that cannot be read or, without `resize`, has another size.
    """
    height, width, colors = image_shape
    image = _decoded(path, colors)
    if resize and height == width:
        return _to_levels(pixels.square(image, height), pixel_levels)
    _check_size(path, image, height, width, "resize it, or pass --resize to take its central square")
    return _to_levels(np.asarray(image).reshape(image_shape), pixel_levels)


def read_all(
    paths: Iterable[pathlib.Path], image_shape: tuple[int, int, int], pixel_levels: int, *, resize: bool
) -> np.ndarray:
    """Reads image files as `read` does, (images, height, width, colors) uint8."""
    return np.stack([read(path, image_shape, pixel_levels, resize=resize) for path in paths])


def read_exactly(
    folder: pathlib.Path, names: Sequence[str], image_shape: tuple[int, int, int], pixel_levels: int
) -> np.ndarray:
    """Reads images without any loss: they must have the model's size and levels, 8 bits a value, and be opaque.

    Returns:
        (images, height, width, colors) uint8, 0..levels-1.

    Raises:
        DataError: for an image that cannot be read, or that would lose information.
    """

    def exact(name: str) -> np.ndarray:
        path = folder / name
        values = read(path, image_shape, 256, resize=False)
        levels = _to_levels(values, pixel_levels)
        reason = pixels.lost(path.read_bytes(), image_shape[-1])
        if reason is None and (_to_bytes(levels, pixel_levels) != values).any():
            reason = f"has pixels between the {pixel_levels} levels of the model"
        if reason:
            raise DataError(f"{shown(path)}: {reason}, and would not come back as it is; leave it out or convert it")
        return levels

    with concurrent.futures.ThreadPoolExecutor() as pool:
        return np.stack(list(pool.map(exact, names)))


def read_array(path: pathlib.Path) -> np.ndarray:
    """Reads the array of a .npy file. Raises DataError if it does not hold one."""
    try:
        found = np.load(path, allow_pickle=False)
    except OSError as error:
        raise DataError(f"{shown(path)}: cannot be read ({error.strerror or error})") from None
    except (ValueError, EOFError) as error:
        raise DataError(f"{shown(path)}: not an array of numbers as numpy.save writes it ({error})") from None
    if not isinstance(found, np.ndarray):
        found.close()
        raise DataError(f"{shown(path)}: holds several arrays; save one of them with numpy.save")
    return found


def read_mask(path: pathlib.Path, height: int, width: int) -> np.ndarray:
    """Reads a black and white picture as (height, width) bool, True for white. Raises DataError as `read` does."""
    image = _decoded(path, colors=1)
    _check_size(path, image, height, width, "draw the mask at that size")
    return _to_levels(np.asarray(image), 2).astype(bool)


class Batches:
    """Iterates over image files in order, in arrays of at most `batch_size`; reads them as `read` with `resize`.

    Attributes:
        rounded: images so far that had a pixel between two levels of the model, which was rounded.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        names: Sequence[str],
        image_shape: tuple[int, int, int],
        pixel_levels: int,
        batch_size: int,
    ):
        self.folder, self.names, self.batch_size = folder, names, batch_size
        self.image_shape, self.pixel_levels = image_shape, pixel_levels
        self.rounded = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        self.rounded = 0
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for start in range(0, len(self.names), self.batch_size):
                found = np.stack(list(pool.map(self._values, self.names[start : start + self.batch_size])))
                levels = _to_levels(found, self.pixel_levels)
                changed = _to_bytes(levels, self.pixel_levels) != found
                self.rounded += int(changed.any(axis=(1, 2, 3)).sum())
                yield levels

    def _values(self, name: str) -> np.ndarray:
        return read(self.folder / name, self.image_shape, 256, resize=True)


def _decoded(path: pathlib.Path, colors: int) -> Image.Image:
    try:
        return pixels.decode(path.read_bytes(), colors)
    except OSError as error:
        raise DataError(f"{shown(path)}: cannot be read ({error.strerror}); restore or remove it") from None
    except pixels.PixelError as error:
        raise DataError(f"{shown(path)}: {error}; restore or remove it") from None


def _check_size(path: pathlib.Path, image: Image.Image, height: int, width: int, remedy: str) -> None:
    if image.size != (width, height):
        raise DataError(
            f"{shown(path)}: {image.width} wide and {image.height} high, where the model takes {width} and {height}; "
            f"{remedy}"
        )


def _to_levels(values: np.ndarray, pixel_levels: int) -> np.ndarray:
    """Rounds 0..255 to the nearest of 0..levels-1. Inverts `pictures.as_bytes` exactly."""
    return np.round(values * ((pixel_levels - 1) / 255.0)).astype("uint8")


def _to_bytes(levels: np.ndarray, pixel_levels: int) -> np.ndarray:
    """Converts levels 0..levels-1 to the values in 0..255 that represent them."""
    return np.round(levels * (255.0 / (pixel_levels - 1)))
