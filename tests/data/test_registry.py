"""Datasets by name, and the fixed split of the digits."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from pixelvae_tf import data
from pixelvae_tf.config import DataConfig

SPLITS = ("train", "validation", "test")
DIGITS_SUMS = {"train": 8540359496, "validation": 205680536, "test": 450803049}


def digits():
    return {split: data.load(DataConfig("digits"), split) for split in SPLITS}


def multiset(images):
    return sorted(image.tobytes() for image in images)


def test_the_splits_of_the_digits_are_disjoint_and_cover_the_collection():
    collection = load_digits().images.astype(np.uint8)[..., None]
    assert len(set(multiset(collection))) == len(collection)  # no two are equal, so equal bytes mean the same scan
    assert multiset(np.concatenate(list(digits().values()))) == multiset(collection)


def test_digits_agree_with_their_description():
    info = data.describe(DataConfig("digits"))
    for split, images in digits().items():
        assert images.dtype == np.uint8
        assert images.shape == (info.num_examples[split], *info.image_shape)
        assert images.max() == info.pixel_levels - 1


def test_the_split_of_the_digits_never_changes():
    # Figures in the README were measured on this split: another version of NumPy must not shuffle it anew.
    place = np.arange(1, 65, dtype=np.int64).reshape(8, 8, 1)
    sums = {
        split: int((np.arange(1, len(images) + 1) * (images * place).sum(axis=(1, 2, 3))).sum())
        for split, images in digits().items()
    }
    assert sums == DIGITS_SUMS


@pytest.mark.parametrize("split", SPLITS)
def test_every_digit_has_its_share_of_every_split(split):
    classes = {image.astype(np.uint8).tobytes(): c for image, c in zip(*load_digits(return_X_y=True), strict=True)}
    counts = np.bincount([classes[image.tobytes()] for image in digits()[split]], minlength=10)
    assert counts.min() >= 0.05 * counts.sum() and counts.max() <= 0.15 * counts.sum()


@pytest.mark.parametrize("name", ["digits", "binarized_mnist", "mnist"])
def test_a_description_needs_no_data(name, tmp_path):
    info = data.describe(DataConfig(name, str(tmp_path)))
    assert info.name == name and set(info.num_examples) == set(SPLITS) and len(info.image_shape) == 3
    assert not list(tmp_path.iterdir())


def test_an_unknown_dataset_is_answered_with_the_known_ones_and_the_closest():
    with pytest.raises(data.DataError) as caught:
        data.describe(DataConfig("minst"))
    assert all(name in str(caught.value) for name in data.names())
    assert "did you mean mnist?" in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_split_is_answered_with_the_known_ones():
    with pytest.raises(data.DataError) as caught:
        data.load(DataConfig("digits"), "valid")
    assert "'valid'" in str(caught.value) and all(split in str(caught.value) for split in SPLITS)
