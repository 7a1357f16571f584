"""Grids of images as pictures."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pixelvae_tf import files

_SHORTEST_SIDE = 64
_STRIPE = 4  # pixels along a row
_STRIPES = ((38, 60, 120), (120, 150, 215))


def as_bytes(images: np.ndarray, pixel_levels: int) -> np.ndarray:
    """Scales integer images 0..levels-1 to uint8 0..255."""
    return np.round(images.astype("float32") * (255.0 / (pixel_levels - 1))).astype("uint8")


def save_each(folder: pathlib.Path, names: Sequence[str], images: np.ndarray, pixel_levels: int) -> None:
    """Writes every image as a PNG of its own size.

    Args:
        folder: the folder to write to; names may contain subfolders.
        names: paths in the folder, one for each image.
        images: (batch, height, width, 1 or 3 colors) integers 0..levels-1.
        pixel_levels: number of values of a pixel.
    """
    for name, image in zip(names, as_bytes(images, pixel_levels), strict=True):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(path, format="PNG")


def grid(images: np.ndarray, pixel_levels: int, columns: int = 0, hidden: np.ndarray | None = None) -> np.ndarray:
    """Lays images out in rows with a border of one grey pixel. It enlarges small images without smoothing.

    Args:
        images: (batch, height, width, 1 or 3 colors) integers 0..levels-1.
        pixel_levels: number of values of a pixel.
        columns: images in a row; 0 for a square.
        hidden: (batch, height, width) bool, True for pixels to show as blue hatching, which does not look like data.

    Returns:
        (height, width, 1 or 3) uint8; with hatching always 3 colors.
    """
    pixels = as_bytes(images, pixel_levels)
    count, height, width, _ = pixels.shape
    scale = max(1, _SHORTEST_SIDE // min(height, width))
    pixels = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    if hidden is not None:
        hidden = hidden.repeat(scale, axis=1).repeat(scale, axis=2)[..., None]
        pixels = np.where(hidden, _hatching(height * scale, width * scale), pixels)
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    height, width = height * scale + 1, width * scale + 1
    canvas = np.full((rows * height + 1, columns * width + 1, pixels.shape[-1]), 96, "uint8")
    for index, image in enumerate(pixels):
        top, left = index // columns * height + 1, index % columns * width + 1
        canvas[top : top + height - 1, left : left + width - 1] = image
    return canvas


def _hatching(height: int, width: int) -> np.ndarray:
    """Draws diagonal stripes, (height, width, 3) uint8."""
    stripe = np.add.outer(np.arange(height), np.arange(width)) // _STRIPE % 2
    return np.array(_STRIPES, "uint8")[stripe]


def labelled(canvas: np.ndarray, labels: list[str]) -> np.ndarray:
    """Adds a label to the left of each row of a grid: (height, wider, 1 or 3) uint8."""
    font = ImageFont.load_default(size=12)
    margin = 12 + max(math.ceil(font.getlength(label)) for label in labels)
    height, _, colors = canvas.shape
    picture = Image.new("L", (margin, height), 0)
    for index, label in enumerate(labels):
        middle = (index + 0.5) * height / len(labels)
        ImageDraw.Draw(picture).text((margin - 6, middle), label, fill=255, font=font, anchor="rm")
    return np.concatenate([np.repeat(np.asarray(picture)[..., None], colors, axis=-1), canvas], axis=1)


def headed(canvas: np.ndarray, headings: list[tuple[str, int]]) -> np.ndarray:
    """Adds headings above the columns of a grid: (larger height, width, 1 or 3) uint8.

    Args:
        canvas: from `grid`.
        headings: from left to right, each a text and the number of columns below it.
    """
    font = ImageFont.load_default(size=12)
    _, width, colors = canvas.shape
    picture = Image.new("L", (width, 18), 0)
    columns = sum(count for _, count in headings)
    left = 0
    for words, count in headings:
        middle = (left + count / 2) * width / columns
        ImageDraw.Draw(picture).text((middle, 9), words, fill=255, font=font, anchor="mm")
        left += count
    return np.concatenate([np.repeat(np.asarray(picture)[..., None], colors, axis=-1), canvas])


def completions(given: np.ndarray, known: np.ndarray, drawn: np.ndarray, pixel_levels: int) -> np.ndarray:
    """Draws a row for each image: its known pixels, several completions, and the original.

    Args:
        given: (images, height, width, 1 or 3 colors) integers 0..levels-1.
        known: (1 or images, height, width) bool; the rest of `given` is hidden in the first column.
        drawn: completions, (images, draws, height, width, colors).
        pixel_levels: number of values of a pixel.

    Returns:
        (height, width, 3) uint8, with headings.
    """
    cells = np.concatenate([given[:, None], drawn, given[:, None]], axis=1)
    hidden = np.zeros(cells.shape[:-1], bool)
    hidden[:, 0] = ~known
    images, columns, height, width, colors = cells.shape
    canvas = grid(cells.reshape(-1, height, width, colors), pixel_levels, columns, hidden.reshape(-1, height, width))
    return headed(canvas, [("given", 1), ("completed", columns - 2), ("original", 1)])


def interpolations(start: np.ndarray, drawn: np.ndarray, end: np.ndarray, pixel_levels: int) -> np.ndarray:
    """Draws a row for each pair of images: the first, those between them, and the second.

    Args:
        start, end: (pairs, height, width, 1 or 3 colors) integers 0..levels-1.
        drawn: (pairs, steps, height, width, colors).
        pixel_levels: number of values of a pixel.

    Returns:
        (height, width, 1 or 3) uint8, with headings.
    """
    cells = np.concatenate([start[:, None], drawn, end[:, None]], axis=1)
    canvas = grid(cells.reshape(-1, *cells.shape[2:]), pixel_levels, cells.shape[1])
    return headed(canvas, [("given", 1), ("decoded", cells.shape[1] - 2), ("given", 1)])


def save_grid(
    path: pathlib.Path, images: np.ndarray, pixel_levels: int, columns: int = 0, labels: list[str] | None = None
) -> None:
    """Writes a grid as a PNG file; `labels` go to the left of the rows."""
    canvas = grid(images, pixel_levels, columns)
    save(path, labelled(canvas, labels) if labels else canvas)


def save(path: pathlib.Path, canvas: np.ndarray) -> None:
    """Writes a picture, (height, width, 1 or 3) uint8, as a PNG file."""
    with files.replacing(pathlib.Path(path)) as temporary:
        Image.fromarray(canvas[..., 0] if canvas.shape[-1] == 1 else canvas).save(temporary, format="PNG")
