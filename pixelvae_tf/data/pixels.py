"""Decodes image files, crops them to the central square and resizes them, with Pillow and NumPy alone.

The worker processes of a preparation import this module, so it must not import TensorFlow.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import warnings

import numpy as np
from PIL import Image

# Formats that Pillow may decode; none of them runs other programs. TGA comes last, because no magic bytes mark it.
FORMATS = (
    *("JPEG", "PNG", "WEBP", "AVIF", "JPEG2000", "TIFF", "BMP", "GIF", "MPO", "PPM", "DIB", "QOI"),
    *("PSD", "DDS", "ICO", "SGI", "PCX", "TGA"),
)
# Transparent photographs, drawings and logos are meant for white paper.
BACKGROUND = "white"
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Formats whose 16-bit values Pillow may read into 32 bits.
_SIXTEEN_BITS_IN_MORE = ("PNG", "PPM")

# Pillow warns about broken EXIF data in otherwise good files, and about TIFF tags that it does not know.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class PixelError(ValueError):
    """An image that cannot be used; the message says why, without the image's name."""


@dataclasses.dataclass(frozen=True)
class Geometry:
    """How to turn an image into a square.

    Attributes:
        size: height and width of the result, in pixels.
        source_size: height and width that an image must have, in pixels. 0 accepts any size, crops the central
            square and resizes it to `size` (to twice that with `halve`).
        halve: whether to halve an image of twice the size by rounded 2x2 means.
        colors: 3 for RGB, 1 for grey.
    """

    size: int
    source_size: int = 0
    halve: bool = False
    colors: int = 3


def decode(encoded: bytes, colors: int = 3) -> Image.Image:
    """Decodes an image file as a viewer shows it: upright, with a white background, in RGB or grey.

    16-bit grey is scaled down from its full range. Only the first frame or page is read.

    Raises:
        PixelError: for an incomplete image, and for 32-bit and floating-point pixels, whose range is unknown.
    """
    if not encoded:
        raise PixelError("no readable image (the file is empty)")
    try:
        with Image.open(io.BytesIO(encoded), formats=_readable_formats()) as image:
            image.load()
            return _upright(image, _opaque(_eight_bits(image), "RGB" if colors == 3 else "L"))
    except PixelError:
        raise
    except Image.UnidentifiedImageError:
        raise PixelError("no readable image (no format that the installed Pillow knows)") from None
    except Exception as error:  # Pillow raises almost any kind for damaged files.
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise PixelError(f"no readable image ({reason})") from None


def lost(encoded: bytes, colors: int = 3) -> str | None:
    """Describes what `decode` would lose of an image; None if nothing. Raises PixelError as `decode` does."""
    decode(encoded, colors)
    with Image.open(io.BytesIO(encoded), formats=_readable_formats()) as image:
        image.load()
        if getattr(image, "n_frames", 1) > 1:
            return f"has {image.n_frames} frames"
        if image.mode.startswith("I"):
            return "has 16 bits a value"
        rgba = np.asarray(image.convert("RGBA"))
    if rgba[..., 3].min() < 255:
        return "is transparent"
    if colors == 1 and (rgba[..., :1] != rgba[..., 1:3]).any():
        return "has colors, where the model takes grey images"
    return None


@functools.cache
def _readable_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scales an image to 8 bits a value. Pillow's own conversions would clip larger values instead."""
    wide = image.mode.startswith("I;16") or (image.mode == "I" and image.format in _SIXTEEN_BITS_IN_MORE)
    if wide:
        values = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode in ("I", "F"):
        kind = "32-bit" if image.mode == "I" else "floating-point"
        raise PixelError(f"has {kind} pixels, whose range is unknown: save it with 8 or 16 bits")
    return image


def _opaque(image: Image.Image, mode: str) -> Image.Image:
    """Converts an image to `mode`, with the background behind transparent pixels."""
    if not (image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info):
        return image.convert(mode)
    if image.mode in ("RGBa", "La"):
        image = image.convert(image.mode.upper())
    layers = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layers.size, BACKGROUND), layers).convert(mode)


def _upright(original: Image.Image, image: Image.Image) -> Image.Image:
    """Turns `image` as the original's EXIF data say, if they can be read."""
    try:
        orientation = original.getexif().get(_ORIENTATION, 1)
        orientation = orientation[0] if isinstance(orientation, tuple) else orientation
        method = _UPRIGHT.get(orientation)
    except Exception:  # Broken EXIF data raise almost anything; the pixels are still good.
        return image
    return image if method is None else image.transpose(method)


def square(image: Image.Image, size: int) -> np.ndarray:
    """Crops the central square and resizes it by area means: (size, size, colors) uint8."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    if side % size == 0:
        resized = image.reduce(side // size, box)  # rounds once; resize rounds after each axis
    else:
        resized = image.resize((size, size), Image.Resampling.BOX, box)
    return np.asarray(resized).reshape(size, size, -1)


def halve(images: np.ndarray) -> np.ndarray:
    """Halves (..., height, width, colors) uint8 in height and width by 2x2 means, rounded half up."""
    *rest, height, width, colors = images.shape
    blocks = images.reshape(*rest, height // 2, 2, width // 2, 2, colors).astype(np.uint16)
    return ((blocks.sum(axis=(-4, -2)) + 2) // 4).astype(np.uint8)


def convert(encoded: bytes, geometry: Geometry) -> np.ndarray:
    """Converts one image file to (size, size, colors) uint8. Raises PixelError if it cannot be used."""
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
    """Converts named image files. Returns for each its name and its pixels, or the reason why it cannot be used."""
    results = []
    for name, encoded in batch:
        try:
            results.append((name, convert(encoded, geometry)))
        except PixelError as error:
            results.append((name, str(error)))
    return results
