"""General methods of compression: noise takes its bits, and constant images next to none."""

import numpy as np
import pytest

from pixelvae_tf.evaluation import general_compression


@pytest.mark.parametrize(("levels", "colors", "raw"), [(2, 1, 1), (17, 1, 5), (256, 3, 8)])
def test_noise_takes_at_least_its_bits_and_constant_images_few(levels, colors, raw):
    shape = (20, 12, 16, colors)
    noise = np.random.default_rng(0).integers(levels, size=shape, dtype="uint8")
    found = {row["method"]: row["bytes"] for row in general_compression.sizes(noise, levels)}
    entropy = noise.size * np.log2(levels) / 8
    assert found.pop(f"raw, {raw} bits a value") == np.ceil(noise.size * raw / 8)
    assert len(found) == 8 and min(found.values()) > 0.99 * entropy
    constant = {row["method"]: row["bytes"] for row in general_compression.sizes(np.ones(shape, "uint8"), levels)}
    for method in found:
        if "each image" not in method:
            assert constant[method] < 0.2 * entropy


def test_a_picture_of_all_images_holds_each_of_them():
    images = np.random.default_rng(0).integers(256, size=(5, 4, 6, 3), dtype="uint8")
    mosaic = general_compression.mosaic(images)
    assert mosaic.shape == (8, 18, 3)
    for index, image in enumerate(images):
        row, column = divmod(index, 3)
        np.testing.assert_array_equal(mosaic[4 * row : 4 * row + 4, 6 * column : 6 * column + 6], image)
