"""Labels of images: every image keeps its own, classes are in the order of their names, and what has none is told."""

import itertools
import json

import numpy as np
import pytest
from PIL import Image
from preparing import prepare

from pixelvae_tf import data
from pixelvae_tf.config import DataConfig

CLASSES = ("cat", "dog", "emu")


def folders(root, counts=(6, 6, 6), splits=("train", "val"), inner=""):
    """Grey images whose brightness tells their class (40 a class) in a folder a class."""
    for split, (label, name) in itertools.product(splits, enumerate(CLASSES)):
        place = root / split / name / inner
        place.mkdir(parents=True)
        for index in range(counts[label]):
            Image.fromarray(np.full((8, 8, 3), 40 * label + index, np.uint8)).save(place / f"{index}.png")
    return root


def labelled(config, split="train", count=3):
    if split == "train":
        batches = data.training_batches(config, batch_size=6, labelled=True)
    else:
        batches = data.evaluation_batches(config, split, batch_size=6, labelled=True)
    return list(itertools.islice(batches.as_numpy_iterator(), count))


def assert_own_labels(batches):
    for images, labels in batches:
        assert labels.dtype == np.int32
        np.testing.assert_array_equal(labels, images[:, 0, 0, 0] // 40)


def test_digits_keep_their_labels_in_every_order_and_split():
    for split in ("train", "test"):
        of_image = {
            image.tobytes(): label for image, label in zip(*data.load_labelled(DataConfig(), split), strict=True)
        }
        for images, labels in labelled(DataConfig(), split):
            assert [of_image[image.tobytes()] for image in images] == list(labels)
    found = data.classes(DataConfig())
    assert found.names == tuple("0123456789") and sum(found.images) == 1297


@pytest.mark.parametrize("cache", [False, True])
def test_subfolders_are_the_classes_of_a_folder_with_splits(cache, tmp_path):
    config = DataConfig("image_folder", str(folders(tmp_path / "all", inner="deeper")), image_size=8, cache=cache)
    assert data.classes(config) == data.Classes(CLASSES, (6, 6, 6))
    assert_own_labels(labelled(config) + labelled(config, "validation"))


def test_subfolders_are_the_classes_of_a_folder_without_splits(tmp_path):
    folders(tmp_path / "wrapped", counts=(30, 40, 20), splits=("photos",))
    config = DataConfig("image_folder", str(tmp_path), image_size=8)
    assert data.classes(config).names == CLASSES
    assert_own_labels(labelled(config) + labelled(config, "validation") + labelled(config, "test"))


def test_labels_leave_the_order_of_images_as_it_is(tmp_path):
    for config in (DataConfig(), DataConfig("image_folder", str(folders(tmp_path)), image_size=8)):
        plain = data.training_batches(config, batch_size=6).as_numpy_iterator()
        for (images, _), expected in zip(labelled(config), plain, strict=False):
            np.testing.assert_array_equal(images, expected)


def test_folders_of_a_preparation_are_the_classes_of_imagenet64(tmp_path):
    for split, folder in (("train", "train"), ("validation", "val")):
        prepare(folders(tmp_path / split, splits=(folder,)), tmp_path / "out", split, image_size=32, resize="area")
    config = DataConfig("imagenet64", str(tmp_path / "out"), image_size=32)
    assert data.classes(config) == data.Classes(CLASSES, (6, 6, 6))
    assert_own_labels(labelled(config) + labelled(config, "validation") + labelled(config, "test"))
    # As an earlier version prepared it.
    metadata = tmp_path / "out/imagenet64/32x32/1.0.0/metadata.json"
    content = json.loads(metadata.read_text())
    del content["splits"]["validation"]["classes"]
    metadata.write_text(json.dumps(content))
    with pytest.raises(data.DataError, match="the images of validation have no classes.*prepare_imagenet"):
        data.evaluation_batches(config, "validation", batch_size=6, labelled=True)


def message(config, **settings) -> str:
    with pytest.raises(data.DataError) as caught:
        data.classes_of_model(config, settings.pop("num_classes", 3))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_has_no_classes_or_others_is_told_in_one_line(tmp_path):
    assert "binarized_mnist: this fixed binarization comes without labels" in message(DataConfig("binarized_mnist"))
    assert "--dataset=lsun_bedroom: all of its images are of one class" in message(DataConfig("lsun_bedroom"))
    assert "--num_classes=3: digits has 10 (0, 1, 2, 3, 4, ...); use --num_classes=10" in message(DataConfig())
    assert data.classes_of_model(DataConfig("binarized_mnist"), 0) is None
    folder = folders(tmp_path / "a")
    config = DataConfig("image_folder", str(folder), image_size=8)
    assert "has 3 (cat, dog, emu); use --num_classes=3" in message(config, num_classes=2)
    Image.new("RGB", (8, 8)).save(folder / "train" / "loose.png")
    other = DataConfig("image_folder", f"{folder}/../a", image_size=8)
    assert "train/loose.png lies in no folder of a class" in message(other)
    ((folders(tmp_path / "b") / "val" / "fox").mkdir())
    Image.new("RGB", (8, 8)).save(tmp_path / "b" / "val" / "fox" / "1.png")
    unknown = DataConfig("image_folder", str(tmp_path / "b"), image_size=8)
    assert "validation has the class fox, and train has not" in message(unknown)
