"""The mask rule against loops written from its definition."""

import itertools

import numpy as np
import pytest
from causality import tap_visible

from pixelvae_tf.layers import masks

CASES = list(
    itertools.product([(1, 1), (1, 5), (3, 3), (5, 5), (7, 3)], masks.MASK_TYPES, masks.STACKS, [1, 3], [1, 2])
)


@pytest.mark.parametrize(("size", "mask_type", "stack", "colors", "parts"), CASES)
def test_the_mask_equals_plain_loops(size, mask_type, stack, colors, parts):
    inputs, outputs = 2 * colors, 5 * parts if colors == 1 else 7 * parts
    color_in = masks.color_of_channel(inputs, colors)
    color_out = masks.color_of_channel(outputs, colors, parts)
    mask = masks.causal_mask(size, color_in, color_out, mask_type, stack)
    for row, column, i, o in np.ndindex(mask.shape):
        dy, dx = row - size[0] // 2, column - size[1] // 2
        assert mask[row, column, i, o] == tap_visible(dy, dx, color_in[i], color_out[o], mask_type, stack)


def test_channels_belong_to_colors_in_contiguous_groups_of_nearly_equal_size():
    assert masks.color_of_channel(7, 3).tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert masks.color_of_channel(6, 3, parts=2).tolist() == [0, 1, 2, 0, 1, 2]
    for channels in range(3, 40):
        counts = np.bincount(masks.color_of_channel(channels, 3))
        assert len(counts) == 3
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize(("size", "mask_type", "stack", "colors", "parts"), CASES)
def test_the_visible_box_holds_every_visible_tap_and_no_empty_border(size, mask_type, stack, colors, parts):
    groups = masks.color_of_channel(3 * colors * parts, colors, parts)
    mask = masks.causal_mask(size, masks.color_of_channel(3 * colors, colors), groups, mask_type, stack)
    if not mask.any():
        with pytest.raises(ValueError, match="hides every tap"):
            masks.visible_box(mask)
        return
    rows, columns = masks.visible_box(mask)
    box = mask[rows, columns]
    assert box.sum() == mask.sum()
    for border in (box[0], box[-1], box[:, 0], box[:, -1]):
        assert border.any()
