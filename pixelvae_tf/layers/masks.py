"""The mask rule: what each tap of a convolution kernel may see. It needs only NumPy.

Pixels are generated in raster order, and the colors of one pixel in order (R, G, B). A mask of type A hides the
current position, type B shows it. Feature maps belong to colors in contiguous groups.
"""

from __future__ import annotations

import numpy as np

MASK_TYPES = ("A", "B")
STACKS = ("raster", "vertical", "horizontal")


def color_of_channel(channels: int, colors: int, parts: int = 1) -> np.ndarray:
    """The color each of `channels` belongs to, as (channels,) integers: contiguous groups of nearly equal size.

    With `parts` > 1 the channels are that many sets of maps side by side, and each set has its own groups. The two
    halves of a gate are two such sets.
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
    """The mask of a kernel with odd sides whose middle is the current position.

    Args:
        kernel_size: height and width, odd.
        input_colors, output_colors: color of each input and output channel.
        mask_type: "A" hides the current position, "B" shows it.
        stack: "raster" sees all rows above and the left of the current row; "vertical" sees whole rows, those above
            (A) or those above and the current one (B), of every color; "horizontal" sees only the current row.

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
    """The rows and columns of a kernel with at least one visible tap; the others need no computation.

    Raises:
        ValueError: if the mask hides everything.
    """
    seen = mask.any(axis=(2, 3))
    if not seen.any():
        raise ValueError("the mask hides every tap of the kernel: use a larger kernel_size or mask_type='B'")
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
