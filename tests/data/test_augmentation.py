"""Random transformations of training images: which images, in which batches, and what becomes of their pixels."""

import itertools
import math

import numpy as np
import pytest

from pixelvae_tf import data
from pixelvae_tf.config import DataConfig
from pixelvae_tf.data import Augmentation
from pixelvae_tf.data.augmentation import transformed

DIGITS = DataConfig("digits")


def batches(count, augmentation, *, batch_size=100, **settings):
    stream = data.training_batches(DIGITS, batch_size=batch_size, seed=3, augmentation=augmentation, **settings)
    return list(itertools.islice(stream.as_numpy_iterator(), count))


def changed(images, others):
    return np.any(images != others, axis=(1, 2, 3))


def test_the_share_of_the_images_is_transformed_anew_in_every_batch():
    images = batches(12, None)  # an epoch
    some, every = (
        np.stack([changed(*pair) for pair in zip(images, batches(12, Augmentation(share)), strict=True)])
        for share in (0.25, 1.0)
    )
    # Half of the transformations are too small to move a pixel of 8x8.
    assert every.mean() > 0.4
    assert np.all(every[some])
    # Some 600 of 1,200 images: three standard deviations are 0.05.
    assert some.sum() / every.sum() == pytest.approx(0.25, abs=0.05)
    assert not np.array_equal(some[0], some[1])


def test_every_pixel_is_one_of_its_image():
    for image, other in zip(batches(1, None)[0], batches(1, Augmentation(1.0))[0], strict=True):
        assert set(np.unique(other)) <= set(np.unique(image))


def test_only_the_first_steps_transform():
    images, others = batches(4, None), batches(4, Augmentation(1.0, steps=2))
    assert [changed(*pair).any() for pair in zip(images, others, strict=True)] == [True, True, False, False]
    np.testing.assert_array_equal(batches(1, Augmentation(0.0)), images[:1])


def test_a_stream_from_a_later_step_equals_the_uninterrupted_one():
    whole = batches(15, Augmentation(0.5))
    np.testing.assert_array_equal(batches(2, Augmentation(0.5), start_step=13), whole[13:])


def test_workers_together_read_the_batches_of_one_process_and_labels_stay():
    labels = batches(2, None, labelled=True)
    whole = batches(2, Augmentation(0.5), labelled=True)
    parts = [batches(2, Augmentation(0.5), labelled=True, num_shards=2, shard_index=index) for index in range(2)]
    for step, (images, classes) in enumerate(whole):
        np.testing.assert_array_equal(np.concatenate([part[step][0] for part in parts]), images)
        np.testing.assert_array_equal(np.concatenate([part[step][1] for part in parts]), classes)
        np.testing.assert_array_equal(classes, labels[step][1])


def test_transformations_keep_within_their_limits_and_hold_the_center():
    height, width = 20, 31
    drawn = Augmentation(1.0).transforms(5, 4000, (height, width), seed=0).numpy()
    matrices = drawn[:, [0, 1, 3, 4]].reshape(-1, 2, 2).astype(np.float64)
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    moved = matrices @ middle + drawn[:, [2, 5]]
    np.testing.assert_allclose(moved, np.broadcast_to(middle, moved.shape), atol=1e-4)
    # The matrix is a rotation times an upper triangle: wide, wide * shear; 0, high.
    angle = np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0])
    wide = np.hypot(matrices[:, 0, 0], matrices[:, 1, 0])
    high = np.linalg.det(matrices) / wide
    turned_back = np.cos(angle) * matrices[:, 0, 1] + np.sin(angle) * matrices[:, 1, 1]
    for values, largest in (
        (np.degrees(angle), 10),
        (np.log(wide), 0.1),
        (np.log(high), 0.1),
        (turned_back / wide, 0.15),
    ):
        assert largest * 0.99 < values.max() < largest * 1.0001
        assert -largest * 1.0001 < values.min() < -largest * 0.99
        assert abs(values.mean()) < largest / math.sqrt(3 * 4000) * 5
    assert np.all(drawn[:, 6:] == 0)


def test_pixels_come_from_the_positions_that_the_transformation_names():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (50, 6, 9, 3), np.uint8)
    transforms = Augmentation(1.0).transforms(0, 50, (6, 9), seed=1).numpy()
    rows, columns = np.mgrid[:6, :9]
    got = transformed(images, transforms).numpy()
    for image, transform, result in zip(images, transforms, got, strict=True):
        read_columns = np.rint(transform[0] * columns + transform[1] * rows + transform[2]).astype(int)
        read_rows = np.rint(transform[3] * columns + transform[4] * rows + transform[5]).astype(int)
        expected = image[np.clip(read_rows, 0, 5), np.clip(read_columns, 0, 8)]
        np.testing.assert_array_equal(result, expected)
