"""Prepared data of TensorFlow Datasets: found, absent without network, and damaged."""

import os
import shutil
import struct
import time

import numpy as np
import pytest

from pixelvae_tf import data
from pixelvae_tf.config import DataConfig
from pixelvae_tf.data import mnist
from pixelvae_tf.data.location import prepared_folder

COUNTS = {"train": 6, "validation": 4, "test": 3}
SHARD = "binarized_mnist/1.0.0/binarized_mnist-test.tfrecord-00000-of-00001"


def fake_images(split):
    return np.random.RandomState(len(split)).randint(0, 2, (COUNTS[split], 28, 28, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with a few images in the layout of the real binarized_mnist."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    folder = tmp_path_factory.mktemp("prepared")
    tfds.dataset_builders.store_as_tfds_dataset(
        name="binarized_mnist",
        version="1.0.0",
        data_dir=folder,
        features=tfds.features.FeaturesDict({"image": tfds.features.Image(shape=(28, 28, 1))}),
        split_datasets={split: tf.data.Dataset.from_tensor_slices({"image": fake_images(split)}) for split in COUNTS},
        disable_shuffling=True,
    )
    return folder


@pytest.fixture
def copy(prepared, tmp_path, monkeypatch):
    """A copy to damage, of a dataset that is expected to be this small."""
    monkeypatch.setattr(mnist, "_SIZES", COUNTS)
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    return shutil.copytree(prepared, tmp_path / "data")


@pytest.fixture
def no_network(monkeypatch):
    """Every connection goes through a proxy that refuses."""
    for scheme in ("http", "https"):
        for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper()):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY", "TFDS_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)


def load(folder, split="test"):
    return data.load(DataConfig("binarized_mnist", str(folder)), split)


def message(folder):
    with pytest.raises(data.DataError) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("split", COUNTS)
def test_prepared_images_arrive_unchanged_and_in_order(copy, split):
    np.testing.assert_array_equal(load(copy, split), fake_images(split))


def test_the_environment_names_the_folder_where_the_configuration_does_not(copy, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(copy))
    assert prepared_folder(DataConfig("binarized_mnist")) == copy
    assert prepared_folder(DataConfig("binarized_mnist", "other")).name == "other"


@pytest.mark.parametrize("name", ["binarized_mnist", "mnist"])
def test_without_data_and_network_the_remedy_comes_within_ten_seconds(name, tmp_path, no_network):
    start = time.monotonic()
    with pytest.raises(data.DataError) as caught:
        data.load(DataConfig(name, str(tmp_path)), "test")
    assert time.monotonic() - start < 10
    text = str(caught.value)
    assert "\n" not in text
    for wanted in (name, str(tmp_path), "python -c", "--data_dir", "flags/digits.cfg"):
        assert wanted in text


def test_a_missing_shard_is_named(copy):
    (copy / SHARD).unlink()
    assert str((copy / SHARD).parent) in message(copy)


def test_a_shard_cut_within_an_example_is_found(copy):
    (copy / SHARD).write_bytes((copy / SHARD).read_bytes()[:-10])
    assert str((copy / SHARD).parent) in message(copy)


def test_a_shard_cut_between_examples_is_found(copy):
    whole = (copy / SHARD).read_bytes()
    first = 16 + struct.unpack("<Q", whole[:8])[0]  # a TFRecord: length, its checksum, the data, its checksum
    (copy / SHARD).write_bytes(whole[:first])
    assert str((copy / SHARD).parent) in message(copy)


def test_a_changed_byte_is_found(copy):
    whole = bytearray((copy / SHARD).read_bytes())
    whole[40] ^= 0xFF
    (copy / SHARD).write_bytes(whole)
    assert str((copy / SHARD).parent) in message(copy)


@pytest.mark.parametrize("content", [None, "", '{"na'])
def test_a_missing_or_unreadable_description_is_named(copy, content, no_network):
    description = (copy / SHARD).parent / "dataset_info.json"
    description.unlink()
    if content is not None:
        description.write_text(content)
    assert "binarized_mnist" in message(copy) and str(copy) in message(copy)


def test_data_of_another_size_is_refused(copy, monkeypatch):
    monkeypatch.setattr(mnist, "_SIZES", {**COUNTS, "test": COUNTS["test"] + 1})
    assert str((copy / SHARD).parent) in message(copy)


@pytest.mark.skipif(
    not os.environ.get("PIXELVAE_TEST_TFDS_DIR"),
    reason="needs prepared binarized_mnist and mnist: set PIXELVAE_TEST_TFDS_DIR to their folder",
)
@pytest.mark.parametrize(
    "name, levels", [("binarized_mnist", 2), pytest.param("mnist", 256, marks=pytest.mark.exhaustive)]
)
def test_the_real_data_agrees_with_its_description(name, levels):
    config = DataConfig(name, os.environ["PIXELVAE_TEST_TFDS_DIR"])
    info = data.describe(config)
    for split, count in info.num_examples.items():
        images = data.load(config, split)
        assert images.shape == (count, *info.image_shape) and images.dtype == np.uint8
        assert images.max() == levels - 1 == info.pixel_levels - 1
