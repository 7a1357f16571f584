"""The user's own images: which are in which split, what is read of them, and what cannot be."""

import numpy as np
import pytest
from fakes import encoded, pictures

from pixelvae_tf import data
from pixelvae_tf.config import DataConfig
from pixelvae_tf.data import image_folder

SPLITS = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def fresh():
    """Listings are kept while a process runs; every test here has its own folder, some change it."""
    image_folder._splits.cache_clear()


def fill(folder, images, place="", format="PNG"):
    (folder / place).mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images):
        (folder / place / f"{index:04d}.{format.lower()}").write_bytes(encoded(image, format))
    return folder


def config(folder, size=16):
    return DataConfig("image_folder", str(folder), image_size=size)


def paths(folder):
    return {split: image_folder.list_split(config(folder), split) for split in SPLITS}


def test_every_image_is_in_one_split_and_most_train(tmp_path):
    fill(tmp_path, np.zeros((400, 2, 2, 3), np.uint8), "deep/er")
    splits = paths(tmp_path)
    together = sum(splits.values(), [])
    assert len(together) == len(set(together)) == 400
    counts = data.describe(config(tmp_path)).num_examples
    assert counts == {split: len(names) for split, names in splits.items()}
    assert 340 <= counts["train"] <= 380 and min(counts.values()) >= 8


def test_the_split_of_an_image_stays_when_others_are_added(tmp_path):
    fill(tmp_path, np.zeros((200, 2, 2, 3), np.uint8))
    before = paths(tmp_path)
    image_folder._splits.cache_clear()
    fill(tmp_path, np.zeros((200, 2, 2, 3), np.uint8), "more")
    after = paths(tmp_path)
    for split in SPLITS:
        assert set(before[split]) <= set(after[split])


@pytest.mark.parametrize("count", [3, 4, 7])
def test_few_images_still_give_one_to_every_split(tmp_path, count):
    fill(tmp_path, np.zeros((count, 2, 2, 3), np.uint8))
    counts = data.describe(config(tmp_path)).num_examples
    assert min(counts.values()) >= 1 and sum(counts.values()) == count


def test_folders_named_after_the_splits_are_the_splits(tmp_path):
    for split, number in (("train", 5), ("validation", 2), ("test", 3)):
        fill(tmp_path, np.zeros((number, 2, 2, 3), np.uint8), split)
    assert data.describe(config(tmp_path)).num_examples == {"train": 5, "validation": 2, "test": 3}
    assert all(name.startswith(f"{split}/") for split, names in paths(tmp_path).items() for name in names)


def test_without_test_images_the_validation_images_stand_in_and_never_the_training_ones(tmp_path):
    fill(tmp_path, np.zeros((5, 2, 2, 3), np.uint8), "train")
    fill(tmp_path, np.zeros((2, 2, 2, 3), np.uint8), "validation")
    assert paths(tmp_path)["test"] == paths(tmp_path)["validation"]


def test_a_class_called_train_makes_no_splits(tmp_path):
    for name in ("car", "train", "bus"):
        fill(tmp_path, np.zeros((10, 2, 2, 3), np.uint8), name)
    assert sum(data.describe(config(tmp_path)).num_examples.values()) == 30


def test_images_of_any_size_color_and_format_become_squares(tmp_path):
    wide = pictures(1, 48)[0][:32]
    for split in SPLITS:
        fill(tmp_path, [wide], split)
    grey = pictures(1, 16)[0][..., 0]
    (tmp_path / "train/grey.png").write_bytes(encoded(grey))
    (tmp_path / "train/photo.jpg").write_bytes(encoded(wide, "JPEG"))
    (tmp_path / "train/web.webp").write_bytes(encoded(wide, "WEBP"))
    (tmp_path / "train/clear.png").write_bytes(encoded(np.dstack([wide, np.full((32, 48), 255, np.uint8)])))
    images = dict(zip(paths(tmp_path)["train"], data.load(config(tmp_path), "train"), strict=True))
    center = wide[:, 8:40].reshape(16, 2, 16, 2, 3).mean(axis=(1, 3))
    np.testing.assert_array_equal(images["train/0000.png"], np.floor(center + 0.5))
    np.testing.assert_array_equal(images["train/clear.png"], images["train/0000.png"])
    np.testing.assert_array_equal(images["train/grey.png"], np.repeat(grey[..., None], 3, axis=2))
    for lossy in ("train/photo.jpg", "train/web.webp"):
        assert np.abs(images[lossy].astype(int) - images["train/0000.png"]).mean() < 6


def test_training_streams_every_image_once_an_epoch_and_resumes_exactly(tmp_path):
    import itertools

    fill(tmp_path, pictures(40, 16), "train")
    fill(tmp_path, pictures(3, 16, seed=9), "validation")

    def batches(count, **settings):
        stream = data.training_batches(config(tmp_path), batch_size=8, seed=1, **settings)
        return list(itertools.islice(stream.as_numpy_iterator(), count))

    whole = batches(12)
    epochs = [sorted(image.tobytes() for image in np.concatenate(whole[start : start + 5])) for start in (0, 5)]
    assert epochs[0] == epochs[1] == sorted(image.tobytes() for image in data.load(config(tmp_path), "train"))
    assert not np.array_equal(whole[:5], whole[5:10])
    np.testing.assert_array_equal(batches(5, start_step=7), whole[7:])
    parts = [batches(3, num_shards=2, shard_index=worker) for worker in range(2)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole[:3])


@pytest.mark.parametrize("content", [b"no image", b"", encoded(pictures(1)[0])[:2000]])
def test_one_unreadable_image_among_many_is_named(tmp_path, content):
    fill(tmp_path, pictures(10, 16), "train")
    fill(tmp_path, pictures(3, 16), "validation")
    (tmp_path / "train/bad.png").write_bytes(content)
    with pytest.raises(data.DataError) as caught, data.reading(config(tmp_path)):
        next(iter(data.training_batches(config(tmp_path), batch_size=11)))
    assert str(tmp_path / "train/bad.png") in str(caught.value) and "\n" not in str(caught.value)


def test_folders_and_settings_that_cannot_be_used_are_named(tmp_path):
    def message(settings):
        with pytest.raises(data.DataError) as caught:
            data.describe(settings)
        return str(caught.value)

    assert "--data_dir is empty" in message(DataConfig("image_folder", image_size=16))
    assert "no such folder" in message(config(tmp_path / "absent"))
    (tmp_path / "file").write_text("")
    assert "is a file" in message(config(tmp_path / "file"))
    assert "holds no images" in message(config(tmp_path))
    fill(tmp_path, np.zeros((2, 2, 2, 3), np.uint8))
    assert "at least 3" in message(config(tmp_path))
    assert "--image_size" in message(config(tmp_path, size=0))
