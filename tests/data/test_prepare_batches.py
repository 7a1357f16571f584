"""Pickled batches of ImageNet (Chrabaszcz et al. 2017): what they hold, which split they are of, what is refused."""

import collections
import io
import os
import pickle
import zipfile

import numpy as np
import pytest
from fakes import encoded, pictures
from preparing import IMAGES, message, prepare, stored

from pixelvae_tf.data import pixels
from pixelvae_tf.data.preparation import archives, chrabaszcz, imagenet


def batch_of(images):
    data = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return {"data": data, "labels": list(range(len(images))), "mean": data.mean(axis=0)}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickled_batches_of_every_protocol_hold_colors_first(tmp_path, protocol):
    folder = tmp_path / "batches"
    folder.mkdir()
    (folder / "train_data_batch_1").write_bytes(pickle.dumps(batch_of(IMAGES), protocol))
    problems = imagenet.Problems("fail")
    got = dict(chrabaszcz.read_batches(folder, problems))
    assert sorted(got) == [f"train_data_batch_1/{index:07d}" for index in range(5)]
    np.testing.assert_array_equal(np.stack(list(got.values())), IMAGES)


def test_batches_are_read_from_zip_archives_and_npz_in_their_order(tmp_path):
    with zipfile.ZipFile(tmp_path / "part1.zip", "w") as archive:
        for number in (10, 2):
            archive.writestr(f"train_data_batch_{number}", pickle.dumps(batch_of(IMAGES[:1])))
    names = [name for name, _ in chrabaszcz.read_batches(tmp_path / "part1.zip", imagenet.Problems("fail"))]
    assert names == ["train_data_batch_2/0000000", "train_data_batch_10/0000000"]
    np.savez(tmp_path / "val_data.npz", data=batch_of(IMAGES)["data"])
    summary = prepare(tmp_path / "val_data.npz", tmp_path / "out", split="validation", image_size=32)
    assert (summary["variant"], summary["images"]) == ("chrabaszcz", 5)
    np.testing.assert_array_equal(
        stored(tmp_path / "out", "validation", 32)["val_data.npz/0000003"], pixels.halve(IMAGES[3])
    )


class Malicious:
    def __init__(self, call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [os.system, eval, collections.OrderedDict, np.load, io.open])
def test_a_pickle_that_asks_for_anything_but_arrays_is_refused(tmp_path, function):
    mark = tmp_path / "mark"
    arguments = {os.system: (f"touch {mark}",), eval: (f"open({str(mark)!r}, 'w')",), io.open: (str(mark), "w")}
    call = (function, arguments.get(function, ()))
    (tmp_path / "train_data_batch_1").write_bytes(pickle.dumps({"data": Malicious(call)}))
    text = message(tmp_path / "train_data_batch_1", tmp_path / "out")
    assert "train_data_batch_1" in text and "only NumPy arrays are admitted" in text
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"nonsense", [1], {"data": np.zeros((2, 5))}, {"labels": [1]}])
def test_a_batch_that_holds_no_images_is_named(tmp_path, content):
    (tmp_path / "val_data").write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))
    assert "val_data: not a readable batch" in message(tmp_path / "val_data", tmp_path / "out", split="validation")


def test_batches_of_several_splits_in_one_folder_are_read_by_split_and_once(tmp_path):
    for name, count in (("train_data_batch_1", 3), ("train_data_batch_2", 2), ("val_data", 1)):
        (tmp_path / name).write_bytes(pickle.dumps(batch_of(IMAGES[:count])))
    np.savez(tmp_path / "train_data_batch_1.npz", **batch_of(IMAGES[:3]))
    with zipfile.ZipFile(tmp_path / "part2.zip", "w") as archive:
        archive.writestr("train_data_batch_6", pickle.dumps(batch_of(IMAGES[:1])))
    problems = imagenet.Problems("fail")
    counts = {}
    for split in ("train", "validation", "test"):
        counts[split] = len(list(chrabaszcz.read_batches(tmp_path, problems, split)))
    assert counts == {"train": 6, "validation": 1, "test": 1}
    assert problems.passed_over == {"second form of a batch": 1}
    assert "is one part of several" in message(tmp_path / "part2.zip", tmp_path / "out")
    assert "no readable batch of images for --split=test" in message(
        tmp_path / "train_data_batch_1", tmp_path / "out", split="test"
    )


def test_batches_of_32x32_are_stored_as_they_are_and_not_enlarged(tmp_path):
    small = pictures(3, 32)
    (tmp_path / "train_data_batch_1").write_bytes(pickle.dumps(batch_of(small)))
    assert "--image_size=32" in message(tmp_path / "train_data_batch_1", tmp_path / "out")
    summary = prepare(tmp_path / "train_data_batch_1", tmp_path / "out", image_size=32)
    # Not the mean of the images of 64x64: likelihoods on the two do not compare.
    assert (summary["variant"], summary["images"]) == ("chrabaszcz-32x32", 3)
    np.testing.assert_array_equal(stored(tmp_path / "out", size=32)["train_data_batch_1/0000001"], small[1])


@pytest.mark.parametrize("name", ["train_data/cat/1.png", "train_data_0000.png", "val_data.csv", "val_data/1.png"])
def test_names_that_only_begin_like_those_of_batches_are_no_batches(tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(encoded(IMAGES[0]))
    (tmp_path / "images").mkdir()
    (tmp_path / "images/2.png").write_bytes(encoded(IMAGES[1]))
    assert not chrabaszcz.has_batches(tmp_path)
    expected = {"images/2.png"} | ({name} if name.endswith("png") else set())
    found = {name for name, _ in archives.read(tmp_path, "train", imagenet.Problems("fail"))}
    assert found == expected | ({name} if name.endswith("csv") else set())
