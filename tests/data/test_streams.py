"""Prepared datasets, read as a stream: the order, exact resume, workers, damage by name, and no training image in
what measures."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf
from fakes import pictures

from pixelvae_tf import data
from pixelvae_tf.config import DataConfig
from pixelvae_tf.data import ordering
from pixelvae_tf.data.preparation import writer

TRAIN, VALIDATION = pictures(101, 32, seed=1), pictures(13, 32, seed=2)


def write(output, split, images, variant="vandenoord", dataset="imagenet64"):
    target = writer.Target(output, dataset, split, images.shape[1], variant)
    writer.write_split(target, ((f"{split}/{index}", image) for index, image in enumerate(images)), dict)
    return target.folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A dataset in many small shards of different lengths."""
    output = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(writer, "_SHARD_BYTES", (1 << 14, 1 << 16))
        write(output, "train", TRAIN)
        write(output, "validation", VALIDATION)
    return output


@pytest.fixture(
    params=[20, pytest.param(10_000, marks=pytest.mark.exhaustive)],
    ids=["groups", "one group"],
)
def config(folder, request, monkeypatch):
    """The dataset, with few and with many images shuffled together."""
    monkeypatch.setattr(ordering, "SHUFFLED_TOGETHER", request.param)
    return DataConfig("imagenet64", str(folder))


def batches(config, count, **settings):
    settings = {"batch_size": 8, "seed": 5, **settings}
    return list(itertools.islice(data.training_batches(config, **settings).as_numpy_iterator(), count))


def identities(images):
    return [image.tobytes() for image in images]


STEPS = len(TRAIN) // 8  # an epoch


def test_the_dataset_of_these_tests_has_shards_of_several_lengths(folder):
    from pixelvae_tf.data import prepared

    lengths = [length for _, length in prepared.find(DataConfig("imagenet64", str(folder))).shards["train"]]
    assert len(lengths) > 4 and len(set(lengths)) > 1


def test_a_stream_from_a_later_step_equals_the_uninterrupted_one(config):
    whole = batches(config, 3 * STEPS)
    for start_step in (0, 5, STEPS - 1, STEPS, 2 * STEPS + 7):
        rest = batches(config, 3 * STEPS - start_step, start_step=start_step)
        np.testing.assert_array_equal(rest, whole[start_step:], err_msg=f"from step {start_step}")


def test_an_epoch_has_no_image_twice_and_the_next_has_another_order(config):
    stream = batches(config, 2 * STEPS)
    first, second = (identities(np.concatenate(part)) for part in (stream[:STEPS], stream[STEPS:]))
    for epoch in (first, second):
        assert len(set(epoch)) == STEPS * 8
        assert set(epoch) <= set(identities(TRAIN))
    assert sum(a == b for a, b in zip(first, second, strict=True)) <= 12
    assert set(first) != set(second), "the remainder that is dropped must not always be the same"


def test_images_that_are_stored_together_come_apart(folder):
    config = DataConfig("imagenet64", str(folder))
    stored = identities(data.load(config, "train"))
    places = [stored.index(identity) for identity in identities(np.concatenate(batches(config, STEPS)))]
    neighbors = sum(abs(a - b) == 1 for a, b in itertools.pairwise(places))
    assert neighbors <= 10  # 2 are expected


def test_the_seed_alone_decides_the_order(folder):
    config = DataConfig("imagenet64", str(folder))
    try:
        tf.random.set_seed(1)
        first = batches(config, 2)
        tf.random.set_seed(2)
        np.testing.assert_array_equal(first, batches(config, 2))
    finally:
        tf.random.set_seed(None)
    assert not np.array_equal(first, batches(config, 2, seed=6))


def test_keeping_the_images_in_memory_changes_no_batch(config):
    cached = dataclasses.replace(config, cache=True)
    held, streamed = (batches(one, STEPS + 3, start_step=4) for one in (cached, config))
    np.testing.assert_array_equal(held, streamed)


def test_workers_together_see_the_batches_of_one_process(config):
    settings = {"count": STEPS + 2, "start_step": 3}
    whole = batches(config, **settings)
    for workers in (2, 4):
        parts = [batches(config, **settings, num_shards=workers, shard_index=worker) for worker in range(workers)]
        assert all(batch.shape[0] == 8 // workers for part in parts for batch in part)
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole, err_msg=f"{workers} workers")


def test_workers_share_the_batches_of_a_dataset_in_memory_too():
    digits = DataConfig("digits")
    parts = [batches(digits, 3, batch_size=30, num_shards=3, shard_index=worker) for worker in range(3)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), batches(digits, 3, batch_size=30))


@pytest.mark.parametrize("settings", [{"num_shards": 3}, {"num_shards": 2, "shard_index": 2}])
def test_a_batch_that_the_workers_cannot_share_is_refused(folder, settings):
    with pytest.raises(data.DataError, match="batch_size=8|shard_index=2"):
        data.training_batches(DataConfig("imagenet64", str(folder)), batch_size=8, **settings)


@pytest.mark.parametrize("batch_size", [1, 5, 13, 50])
def test_evaluation_gives_every_image_once_in_the_same_order(folder, batch_size):
    config = DataConfig("imagenet64", str(folder))
    got = list(data.evaluation_batches(config, "validation", batch_size=batch_size).as_numpy_iterator())
    assert all(len(batch) == batch_size for batch in got[:-1])
    images = np.concatenate(got)
    np.testing.assert_array_equal(images, data.load(config, "validation"))
    assert sorted(identities(images)) == sorted(identities(VALIDATION))
    first = data.evaluation_batches(config, "validation", batch_size=batch_size, max_examples=6)
    np.testing.assert_array_equal(np.concatenate(list(first.as_numpy_iterator())), images[:6])


def test_no_split_that_measures_holds_a_training_image(folder):
    config = DataConfig("imagenet64", str(folder))
    training = set(identities(data.load(config, "train")))
    for split in ("validation", "test"):
        measured = identities(data.load(config, split))
        assert len(measured) == data.describe(config).num_examples[split] == len(VALIDATION)
        assert not training & set(measured)


def test_without_a_validation_split_nothing_else_stands_in(tmp_path):
    write(tmp_path, "train", TRAIN[:10])
    config = DataConfig("imagenet64", str(tmp_path))
    assert data.describe(config).num_examples == {"train": 10, "validation": 0, "test": 0}
    for split in ("validation", "test"):
        with pytest.raises(data.DataError, match=r"no split .*prepare_imagenet.py --split=validation"):
            data.evaluation_batches(config, split, batch_size=5)


def test_the_description_comes_from_the_dataset_and_is_held_against_the_configuration(folder, tmp_path):
    config = DataConfig("imagenet64", str(folder))
    info = data.describe(config)
    assert (info.image_shape, info.pixel_levels, info.variant) == ((32, 32, 3), 256, "vandenoord")
    assert info.num_examples["train"] == 101
    with pytest.raises(data.DataError, match="64x64.*it holds 32x32.*--image_size=64"):
        data.describe(dataclasses.replace(config, image_size=64))
    with pytest.raises(data.DataError, match="--data_variant=chrabaszcz.*'vandenoord'"):
        data.describe(dataclasses.replace(config, data_variant="chrabaszcz"))
    with pytest.raises(data.DataError, match="tools/prepare_lsun.py"):
        data.describe(DataConfig("lsun_bedroom", str(tmp_path)))
    with pytest.raises(data.DataError, match="--image_size=9: digits has images of 8x8"):
        data.describe(DataConfig("digits", image_size=9))


def test_of_two_sizes_the_configuration_must_name_one(tmp_path):
    write(tmp_path, "train", TRAIN[:5])
    write(tmp_path, "train", pictures(3, 64))
    with pytest.raises(data.DataError, match="32x32 and 64x64.*--image_size"):
        data.describe(DataConfig("imagenet64", str(tmp_path)))
    assert data.describe(DataConfig("imagenet64", str(tmp_path), image_size=64)).image_shape == (64, 64, 3)


def cut_within(content):
    return content[:-10]


def cut_between(content):
    return content[: 16 + int.from_bytes(content[:8], "little")]  # a record: length, checksum, data, checksum


def flip_a_byte(content):
    return content[:1000] + bytes([content[1000] ^ 0x10]) + content[1001:]


@pytest.mark.parametrize("change", [cut_within, cut_between, flip_a_byte, None])
@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_damaged_shard_is_named(tmp_path, change, split):
    target = write(tmp_path, "train", TRAIN[:20])
    write(tmp_path, "validation", VALIDATION)
    config = DataConfig("imagenet64", str(tmp_path))
    data.describe(config)
    shard = sorted(target.glob(f"*-{split}.tfrecord*"))[-1]
    if change:
        shard.write_bytes(change(shard.read_bytes()))
    else:
        shard.unlink()
    with pytest.raises(data.DataError) as caught, data.reading(config):
        if split == "train":
            batches(config, 5)
        else:
            list(data.evaluation_batches(config, split, batch_size=5))
    assert str(shard) in str(caught.value) and "\n" not in str(caught.value)


def test_a_damaged_shard_is_named_when_a_keras_model_trains(tmp_path):
    import keras

    folder = write(tmp_path, "train", TRAIN[:40])
    shard = next(folder.glob("*.tfrecord*"))
    shard.write_bytes(flip_a_byte(shard.read_bytes()))
    config = DataConfig("imagenet64", str(tmp_path))
    model = keras.Sequential([keras.layers.Rescaling(1.0), keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    stream = data.training_batches(config, batch_size=8).map(lambda images: (images, tf.zeros((8, 1))))
    with pytest.raises(data.DataError, match=shard.name), data.reading(config):
        model.fit(stream, steps_per_epoch=5, shuffle=False, verbose=0)


@pytest.mark.parametrize("kind", ["ResourceExhausted", "InvalidArgument", "FailedPrecondition", "Unavailable"])
def test_errors_that_are_not_the_datas_pass_unchanged(folder, monkeypatch, kind):
    from pixelvae_tf.data import damage

    # Looking for damage reads the whole dataset: no error of another kind may wait for that.
    monkeypatch.setattr(damage, "_first_damaged", lambda *_: pytest.fail("reads the dataset"))
    config = DataConfig("imagenet64", str(folder))
    error = getattr(tf.errors, f"{kind}Error")(None, None, "another reason")
    with pytest.raises(type(error)), data.reading(config):
        raise error


@pytest.mark.parametrize("name", ["metadata.json", "dataset_info.json", "features.json"])
def test_a_damaged_description_is_named(tmp_path, name):
    folder = write(tmp_path, "train", TRAIN[:5])
    (folder / name).write_text('{"na')
    with pytest.raises(data.DataError) as caught:
        data.describe(DataConfig("imagenet64", str(tmp_path)))
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
