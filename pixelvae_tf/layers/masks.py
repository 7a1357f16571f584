"""The mask rule: which taps of a convolution kernel are visible. It needs only NumPy.

Pixels are generated in raster order, and the colors of one pixel in order (R, G, B). A mask of type A hides the
current position, type B shows it. Feature maps belong to colors in contiguous groups.
"""

from __future__ import annotations

import numpy as np

MASK_TYPES = ("A", "B")
STACKS = ("raster", "vertical", "horizontal")


def color_of_channel(channels: int, colors: int, parts: int = 1) -> np.ndarray:
    """Returns the color of each channel, (channels,) integers, in contiguous groups of nearly equal size.

    `parts` is the number of sets of maps side by side in the channels. Each set has its own groups. The two halves of a
    gate are two such sets.
    """
    per_part = channels // parts
    return np.tile(np.arange(per_part) * colors // per_part, parts)


def causal_mask(
    kernel_size: tuple[int, int],
    input_colors: np.ndarray,
    output_colors: np.ndarray,
    mask_type: str,
    stack: str = "raster",
) -> np.ndarray:
    """Returns the mask of a kernel with odd sides, whose center is the current position.

    Args:
        kernel_size: height and width, odd.
        input_colors, output_colors: color of each input and output channel.
        mask_type: "A" hides the current position, "B" shows it.
        stack: "raster" sees all rows above, and the current row to the left; "vertical" sees whole rows in all colors,
            those above (A) or also the current one (B); "horizontal" sees only the current row to the left.

    Returns:
        (height, width, inputs, outputs) of 0 and 1, float32.
    """
    height, width = kernel_size
    rows = np.arange(height)[:, None, None, None] - height // 2
    columns = np.arange(width)[None, :, None, None] - width // 2
    earlier = input_colors[:, None] < output_colors[None, :]
    same = input_colors[:, None] == output_colors[None, :]
    above, here = rows < 0, rows == 0
    current_pixel = earlier | same if mask_type == "B" else earlier
    left = here & ((columns < 0) | ((columns == 0) & current_pixel))
    if stack == "vertical":
        visible = above | here if mask_type == "B" else above
    elif stack == "horizontal":
        visible = left
    else:
        visible = above | left
    shape = (height, width, len(input_colors), len(output_colors))
    return np.broadcast_to(visible, shape).astype("float32")


def visible_box(mask: np.ndarray) -> tuple[slice, slice]:
    """Returns the rows and columns of a kernel with at least one visible tap. The others need no computation.

    Raises:
        ValueError: if the mask hides everything.
    """
    seen = mask.any(axis=(2, 3))
    if not seen.any():
        raise ValueError("the mask hides every tap of the kernel: use a larger kernel_size or mask_type='B'")
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
