"""Compresses images with general methods (PNG, WebP, JPEG XL, zlib, lzma), for comparison."""

from __future__ import annotations

import io
import lzma
import math
import time
import zlib

import numpy as np
from PIL import Image, features

from pixelvae_tf.evaluation.pictures import as_bytes


def sizes(images: np.ndarray, pixel_levels: int) -> list[dict]:
    """Returns for each method the compressed bytes of integer images, and the seconds that it took.

    Picture formats compress each image as one picture, and all images side by side as one picture. zlib and lzma
    compress all images at once, with 1 bit per value for two levels and 8 bits for more.

    Args:
        images: (images, height, width, 1 or 3 colors) integers 0..levels-1.
        pixel_levels: number of values of a pixel.
    """
    raw = np.packbits(images).tobytes() if pixel_levels == 2 else images.astype("uint8").tobytes()
    bits = (pixel_levels - 1).bit_length()
    rows = [{"method": f"raw, {bits} bits a value", "bytes": math.ceil(images.size * bits / 8), "seconds": 0.0}]
    each, together = [_picture(image, pixel_levels) for image in images], _picture(mosaic(images), pixel_levels)
    formats = {"PNG": {"format": "PNG", "optimize": True}}
    if features.check("webp"):
        formats["WebP lossless"] = {"format": "WEBP", "lossless": True, "quality": 100, "method": 6}
    if _writes_jpeg_xl():
        formats["JPEG XL lossless"] = {"format": "JXL", "lossless": True, "effort": 9}
    for name, options in formats.items():
        rows.append(_timed(f"{name}, each image", lambda options=options: sum(_saved(one, options) for one in each)))
        rows.append(_timed(f"{name}, one picture of all", lambda options=options: _saved(together, options)))
    rows.append(_timed("zlib, all at once", lambda: len(zlib.compress(raw, 9))))
    rows.append(_timed("lzma, all at once", lambda: len(lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME))))
    return rows


def _writes_jpeg_xl() -> bool:
    """Returns whether Pillow writes JPEG XL, for which it needs the package pillow-jxl-plugin."""
    try:
        import pillow_jxl  # noqa: F401
    except ImportError:
        return False
    return True


def _timed(method: str, size) -> dict:
    started = time.perf_counter()
    found = size()
    return {"method": method, "bytes": found, "seconds": round(time.perf_counter() - started, 3)}


def _picture(image: np.ndarray, pixel_levels: int) -> Image.Image:
    """Makes a picture with as few bits per pixel as Pillow allows."""
    values = as_bytes(image, pixel_levels)
    picture = Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values)
    return picture.convert("1") if pixel_levels == 2 and picture.mode == "L" else picture


def mosaic(images: np.ndarray) -> np.ndarray:
    """Arranges all images in rows without borders, with black for empty places: (height, width, colors)."""
    count, height, width, colors = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    places = np.zeros((rows * columns, height, width, colors), images.dtype)
    places[:count] = images
    grid = places.reshape(rows, columns, height, width, colors).transpose(0, 2, 1, 3, 4)
    return grid.reshape(rows * height, columns * width, colors)


def _saved(picture: Image.Image, options: dict) -> int:
    file = io.BytesIO()
    if options["format"] == "JXL" and picture.mode == "1":
        picture = picture.convert("L")
    picture.save(file, **options)
    return len(file.getvalue())
