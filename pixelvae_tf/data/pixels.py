"""From an encoded image file to a small square: decode, centre-crop, area-resize. Pillow and NumPy alone.

The worker processes of a preparation import this module, so it must not need TensorFlow.
"""

from __future__ import annotations

import dataclasses
import io

import numpy as np
from PIL import Image, ImageOps

# What Pillow may be asked to decode: the formats in which photographs are published.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "MPO", "PPM")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")


class PixelError(ValueError):
    """An image that cannot be used; the message says why, without the image's name."""


@dataclasses.dataclass(frozen=True)
class Geometry:
    """How an image becomes a square.

    Attributes:
        size: height and width of the result, in pixels.
        source_size: height and width that an image must have, in pixels; 0 for any, which are then cropped to
            their central square and resized to `size` (or to twice as much, where `halve` is set).
        halve: whether the result is the rounded 2x2 mean of an image of twice the size.
        colors: 3 for RGB, 1 for grey.
    """

    size: int
    source_size: int = 0
    halve: bool = False
    colors: int = 3


def decode(encoded: bytes, colors: int = 3) -> Image.Image:
    """The image in a file's bytes, upright, in RGB or grey. Raises PixelError for bytes without a whole image."""
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            image.load()
            return ImageOps.exif_transpose(image).convert("RGB" if colors == 3 else "L")
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        ArithmeticError,
        IndexError,
        TypeError,
        KeyError,
        AttributeError,
        RuntimeError,
        MemoryError,
        Image.DecompressionBombError,
    ) as error:
        # Pillow raises any of these for damaged files.
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise PixelError(f"no readable image ({reason})") from None


def square(image: Image.Image, size: int) -> np.ndarray:
    """The central square, every pixel the mean of the area that it covers: (size, size, colors) uint8."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    if side % size == 0:
        resized = image.reduce(side // size, box)  # rounds once, where resize rounds after each axis
    else:
        resized = image.resize((size, size), Image.Resampling.BOX, box)
    return np.asarray(resized).reshape(size, size, -1)


def halve(images: np.ndarray) -> np.ndarray:
    """The mean of every 2x2 pixels, rounded half up: (..., height, width, colors) uint8 to half the size."""
    *rest, height, width, colors = images.shape
    blocks = images.reshape(*rest, height // 2, 2, width // 2, 2, colors).astype(np.uint16)
    return ((blocks.sum(axis=(-4, -2)) + 2) // 4).astype(np.uint8)


def convert(encoded: bytes, geometry: Geometry) -> np.ndarray:
    """One image file as (size, size, colors) uint8. Raises PixelError."""
    image = decode(encoded, geometry.colors)
    full = geometry.size * (2 if geometry.halve else 1)
    if geometry.source_size:
        if image.size != (geometry.source_size, geometry.source_size):
            raise PixelError(
                f"{image.width}x{image.height} pixels, where {geometry.source_size}x{geometry.source_size} belong"
            )
        pixels = np.asarray(image).reshape(full, full, -1)
    else:
        pixels = square(image, full)
    return halve(pixels) if geometry.halve else pixels


def convert_many(batch: list[tuple[str, bytes]], geometry: Geometry) -> list[tuple[str, np.ndarray | str]]:
    """Converts named image files; one that cannot be used is answered with the reason in place of its pixels."""
    results = []
    for name, encoded in batch:
        try:
            results.append((name, convert(encoded, geometry)))
        except PixelError as error:
            results.append((name, str(error)))
    return results
