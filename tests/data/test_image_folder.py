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


@pytest.mark.parametrize("name", ["val", "valid", "dev", "Validation", "validation_data"])
def test_splits_by_any_of_their_usual_names_are_not_mixed(tmp_path, name):
    for split, number in (("train", 5), (name, 2), ("Test", 3)):
        fill(tmp_path / "unpacked", np.zeros((number, 2, 2, 3), np.uint8), split)
    assert data.describe(config(tmp_path)).num_examples == {"train": 5, "validation": 2, "test": 3}
    assert paths(tmp_path)["validation"] == [f"unpacked/{name}/0000.png", f"unpacked/{name}/0001.png"]


def test_without_validation_images_a_part_of_train_is_held_out_and_test_stays_test(tmp_path):
    fill(tmp_path, np.zeros((100, 2, 2, 3), np.uint8), "train")
    fill(tmp_path, np.zeros((7, 2, 2, 3), np.uint8), "test")
    splits = paths(tmp_path)
    assert len(splits["train"]) + len(splits["validation"]) == 100 and 1 <= len(splits["validation"]) <= 12
    assert splits["test"] == [f"test/{index:04d}.png" for index in range(7)]


def test_what_is_left_out_or_not_taken_for_splits_is_told(tmp_path):
    for name in ("train", "validation", "more"):
        fill(tmp_path / "a", np.zeros((3, 2, 2, 3), np.uint8), name)
    assert any("left out: more" in note for note in data.notes(config(tmp_path / "a")))
    for name in ("train", "holdout"):
        fill(tmp_path / "b", np.zeros((30, 2, 2, 3), np.uint8), name)
    assert any("train, holdout do not make splits" in note for note in data.notes(config(tmp_path / "b")))
    for name in ("train", "val", "valid"):
        fill(tmp_path / "c", np.zeros((3, 2, 2, 3), np.uint8), name)
    with pytest.raises(data.DataError, match="both val and valid stand for validation"):
        data.describe(config(tmp_path / "c"))


def test_a_shared_validation_folder_by_link_works_and_one_of_training_images_does_not(tmp_path):
    fill(tmp_path / "photos", np.zeros((5, 2, 2, 3), np.uint8))
    fill(tmp_path / "valid", np.zeros((2, 2, 2, 3), np.uint8))
    for name, target in (("train", "../photos"), ("validation", "../valid")):
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run" / name).symlink_to(target)
    assert data.describe(config(tmp_path / "run")).num_examples == {"train": 5, "validation": 2, "test": 2}
    (tmp_path / "valid/again.png").symlink_to("../photos/0000.png")
    image_folder._splits.cache_clear()
    with pytest.raises(data.DataError, match="1 images of validation are links to training images"):
        data.describe(config(tmp_path / "run"))


def test_a_name_has_one_split_in_every_unicode_form(tmp_path):
    import unicodedata

    names = [f"café_{index}.png" for index in range(200)]
    found = []
    for form in ("NFC", "NFD"):
        parts = image_folder._split_by_hash(tmp_path, [unicodedata.normalize(form, name) for name in names])
        found.append({split: {unicodedata.normalize("NFC", name) for name in part} for split, part in parts.items()})
    assert found[0] == found[1]


def test_names_of_any_bytes_are_read_and_those_of_bad_images_shown_whole(tmp_path):
    import os

    names = [b"caf\xe9.png", b"line\nbreak.png", "写真.png".encode(), b'a,b"c.png', b"100%.png"]
    for split in ("train", "validation"):
        (tmp_path / split).mkdir()
        for name in names:
            (tmp_path / split / os.fsdecode(name)).write_bytes(encoded(pictures(1, 16)[0]))
    assert data.load(config(tmp_path), "train").shape == (5, 16, 16, 3)
    (tmp_path / "train" / os.fsdecode(names[1])).write_bytes(b"broken")
    with pytest.raises(data.DataError, match=r"line\\nbreak.png: no readable image .*--on_error=skip"):
        data.load(config(tmp_path), "train")


def test_unreadable_images_are_left_out_and_counted_where_asked(tmp_path):
    import dataclasses

    fill(tmp_path, pictures(8, 16), "train")
    fill(tmp_path, pictures(3, 16), "validation")
    (tmp_path / "train/0003.png").write_bytes(b"")
    chosen = dataclasses.replace(config(tmp_path), on_error="skip")
    assert data.load(chosen, "train").shape[0] == data.describe(chosen).num_examples["train"] == 7
    assert any("left out 1 unusable images, the first train/0003.png: " in note for note in data.notes(chosen))
    report = image_folder.check(str(tmp_path))
    assert list(report["unusable"]) == ["train/0003.png"] and report["images"]["train"] == 8


def test_the_fingerprint_tells_other_names_and_sizes_and_not_another_place(tmp_path):
    fill(tmp_path / "a", pictures(20, 16))
    fill(tmp_path / "b", pictures(20, 16))
    assert data.fingerprint(config(tmp_path / "a")) == data.fingerprint(config(tmp_path / "b"))
    image_folder._splits.cache_clear()
    first = paths(tmp_path / "b")["train"][0]
    (tmp_path / "b" / first).write_bytes(encoded(pictures(1, 48)[0]))
    before, after = (data.fingerprint(config(tmp_path / name)) for name in "ab")
    assert [split for split in SPLITS if before[split] != after[split]] == ["train"]
    assert before["train"]["images"] == after["train"]["images"]


def test_calls_into_python_come_to_rest_when_the_interpreter_ends(tmp_path, monkeypatch):
    """What is alive then must not wait for Python: the pipeline fills its buffers without reading, and stops."""
    import time

    from pixelvae_tf.data import python_stage

    calls = python_stage._Calls()
    monkeypatch.setattr(python_stage, "_CALLS", calls)
    fill(tmp_path, pictures(10, 16))
    stream = iter(data.training_batches(config(tmp_path), batch_size=2))
    next(stream)
    calls.come_to_rest()
    assert calls.under_way == 0
    last = calls.last
    time.sleep(0.1)
    assert calls.last == last
