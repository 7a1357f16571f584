"""Grids of images as pictures."""

from __future__ import annotations

import math
import pathlib

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pixelvae_tf import files

_SHORTEST_SIDE = 64


def as_bytes(images: np.ndarray, pixel_levels: int) -> np.ndarray:
    """Integer images 0..levels-1 to uint8 0..255."""
    return np.round(images.astype("float32") * (255.0 / (pixel_levels - 1))).astype("uint8")


def grid(images: np.ndarray, pixel_levels: int, columns: int = 0) -> np.ndarray:
    """Lays images out in rows, with a border of one grey pixel; small ones are enlarged without smoothing.

    Args:
        images: (batch, height, width, 1 or 3 colors) integers 0..levels-1.
        pixel_levels: values that a pixel can take.
        columns: images in a row; 0 for a square.

    Returns:
        (height, width, 1 or 3) uint8.
    """
    pixels = as_bytes(images, pixel_levels)
    count, height, width, colors = pixels.shape
    scale = max(1, _SHORTEST_SIDE // min(height, width))
    pixels = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    height, width = height * scale + 1, width * scale + 1
    canvas = np.full((rows * height + 1, columns * width + 1, colors), 96, "uint8")
    for index, image in enumerate(pixels):
        top, left = index // columns * height + 1, index % columns * width + 1
        canvas[top : top + height - 1, left : left + width - 1] = image
    return canvas


def labelled(canvas: np.ndarray, labels: list[str]) -> np.ndarray:
    """A grid with a label to the left of each of its rows, (height, wider, 1 or 3) uint8."""
    font = ImageFont.load_default(size=12)
    margin = 12 + max(math.ceil(font.getlength(label)) for label in labels)
    height, _, colors = canvas.shape
    picture = Image.new("L", (margin, height), 0)
    for index, label in enumerate(labels):
        middle = (index + 0.5) * height / len(labels)
        ImageDraw.Draw(picture).text((margin - 6, middle), label, fill=255, font=font, anchor="rm")
    return np.concatenate([np.repeat(np.asarray(picture)[..., None], colors, axis=-1), canvas], axis=1)


def save_grid(
    path: pathlib.Path, images: np.ndarray, pixel_levels: int, columns: int = 0, labels: list[str] | None = None
) -> None:
    """Writes a grid as a PNG file, with a label to the left of each row where labels are given."""
    canvas = grid(images, pixel_levels, columns)
    if labels:
        canvas = labelled(canvas, labels)
    with files.replacing(pathlib.Path(path)) as temporary:
        Image.fromarray(canvas[..., 0] if canvas.shape[-1] == 1 else canvas).save(temporary, format="PNG")
