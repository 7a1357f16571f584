"""A prepared dataset agrees with its own counts and checksums, or that is told."""

import json
import shutil

import pytest
from fakes import pictures, small_imagenet

from pixelvae_tf.config import DataConfig
from pixelvae_tf.data import DataError, checking, prepared
from pixelvae_tf.data.preparation import imagenet


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    images = pictures(6)
    source = small_imagenet(folder / "a.tar", [*images, images[0]])
    imagenet.prepare(imagenet.ImageNetRequest(str(source), str(folder / "data"), "train"))
    return folder / "data"


@pytest.fixture
def data_dir(made, tmp_path):
    return shutil.copytree(made, tmp_path / "data")


def folder_of(data_dir):
    return data_dir / "imagenet64/64x64/1.0.0"


def check(data_dir):
    return checking.check(DataConfig("imagenet64", str(data_dir)))


def change(path, edit):
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))


def test_what_was_prepared_is_whole_and_images_alike_are_counted(data_dir):
    found = check(data_dir)
    assert (found["images"], found["damaged"], found["doubled"]) == ({"train": 7}, [], [])
    # Whichever of the two the dataset has second.
    assert found["alike"]["count"] == 1
    assert found["alike"]["names"][0] in [f"train: train_64x64/000000{number}.png" for number in (1, 7)]


@pytest.mark.parametrize("count", ["6", "0"])
def test_descriptions_that_count_differently_are_refused(count, data_dir):
    change(folder_of(data_dir) / "dataset_info.json", lambda info: info["splits"][0].update(shardLengths=[count]))
    with pytest.raises(DataError, match=f"train: {count} images by dataset_info.json and 7 by metadata.json"):
        prepared.describe(DataConfig("imagenet64", str(data_dir)))


def test_another_file_than_the_recorded_one_is_found(data_dir):
    folder = folder_of(data_dir)
    change(folder / "metadata.json", lambda value: value["sha256"].update({name: "0" for name in value["sha256"]}))
    assert "SHA-256 is not the one" in check(data_dir)["damaged"][0]
    change(folder / "metadata.json", lambda value: value["sha256"].clear())
    assert "no checksum" in check(data_dir)["damaged"][0]
    shard = next(folder.glob("*.tfrecord-*"))
    shard.write_bytes(shard.read_bytes()[:-9])
    assert "damaged" in check(data_dir)["damaged"][0]


def test_a_record_that_stands_twice_is_found(data_dir):
    folder = folder_of(data_dir)
    shard = next(folder.glob("*.tfrecord-*"))
    content = shard.read_bytes()
    shard.write_bytes(content * 2)
    change(folder / "dataset_info.json", lambda info: info["splits"][0].update(shardLengths=["14"]))
    change(folder / "metadata.json", lambda value: value["splits"]["train"].update(images=14))
    from pixelvae_tf import files

    change(folder / "metadata.json", lambda value: value["sha256"].update({shard.name: files.sha256(shard)}))
    found = check(data_dir)
    assert len(found["doubled"]) == 7 and found["alike"]["count"] == 8
