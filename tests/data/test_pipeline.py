"""What training and evaluation may rely on in the order and number of images, whatever the batch size."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from pixelvae_tf import data
from pixelvae_tf.config import DataConfig

DIGITS = DataConfig("digits")
TRAIN = 1297  # images, none equal to another, so that an image's bytes identify it


def batches(count, *, batch_size=100, seed=0, start_step=0):
    stream = data.training_batches(DIGITS, batch_size=batch_size, seed=seed, start_step=start_step)
    return list(itertools.islice(stream.as_numpy_iterator(), count))


def identities(images):
    return [image.tobytes() for image in images]


@pytest.mark.parametrize("start_step", [0, 1, 11, 12, 13, 24, 30])
def test_a_stream_from_a_later_step_equals_the_uninterrupted_one(start_step):
    whole = batches(40)  # 12 batches an epoch: within epochs, on their borders and across several
    np.testing.assert_array_equal(batches(40 - start_step, start_step=start_step), whole[start_step:])


def test_a_far_step_is_reached_without_reading_what_lies_before():
    start = 12_000_000  # a million epochs: anything but direct access would take hours
    np.testing.assert_array_equal(batches(3, start_step=start)[1:], batches(2, start_step=start + 1))


def test_every_epoch_is_a_permutation_and_differs_from_the_others():
    stream = batches(3, batch_size=TRAIN)
    orders = [identities(batch) for batch in stream]
    expected = sorted(identities(data.load(DIGITS, "train")))
    assert all(sorted(order) == expected for order in orders)
    for first, second in itertools.combinations(orders, 2):
        # Two random permutations agree in one place on average; more than ten has a chance of 1e-8.
        assert sum(a == b for a, b in zip(first, second, strict=True)) <= 10


def test_an_epoch_repeats_no_image_and_drops_only_its_own_remainder():
    stream = batches(24)
    dropped = []
    for epoch in (stream[:12], stream[12:]):
        seen = set(identities(np.concatenate(epoch)))
        assert len(seen) == 1200
        dropped.append(set(identities(data.load(DIGITS, "train"))) - seen)
    assert dropped[0] != dropped[1]


def test_the_seed_alone_decides_the_order():
    np.testing.assert_array_equal(batches(3, seed=5), batches(3, seed=5))
    assert not np.array_equal(batches(1, seed=5), batches(1, seed=6))
    try:
        tf.random.set_seed(1)
        first = batches(2)
        tf.random.set_seed(2)
        np.testing.assert_array_equal(first, batches(2))
    finally:
        tf.random.set_seed(None)


def test_training_batches_are_full_and_of_a_static_shape():
    spec = data.training_batches(DIGITS, batch_size=64, seed=0).element_spec
    assert spec.dtype == tf.uint8 and spec.shape == (64, 8, 8, 1)


@pytest.mark.parametrize("policy", ["DATA", "OFF"])
def test_replicas_together_see_the_batches_of_one_device(policy):
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = getattr(tf.data.experimental.AutoShardPolicy, policy)
    stream = data.training_batches(DIGITS, batch_size=100, seed=0).with_options(options)
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    distributed = iter(strategy.experimental_distribute_dataset(stream))
    for batch in batches(14):
        parts = strategy.experimental_local_results(next(distributed))
        np.testing.assert_array_equal(np.concatenate([part.numpy() for part in parts]), batch)


@pytest.mark.parametrize("batch_size", [1, 7, 100, 300, 1000])
def test_evaluation_gives_every_image_once_in_order(batch_size):
    got = list(data.evaluation_batches(DIGITS, "test", batch_size=batch_size).as_numpy_iterator())
    assert all(len(batch) == batch_size for batch in got[:-1]) and 1 <= len(got[-1]) <= batch_size
    np.testing.assert_array_equal(np.concatenate(got), data.load(DIGITS, "test"))


@pytest.mark.parametrize("max_examples, expected", [(0, 300), (1, 1), (50, 50), (300, 300), (10_000, 300)])
def test_max_examples_takes_the_first(max_examples, expected):
    stream = data.evaluation_batches(DIGITS, "test", batch_size=64, max_examples=max_examples)
    np.testing.assert_array_equal(
        np.concatenate(list(stream.as_numpy_iterator())), data.load(DIGITS, "test")[:expected]
    )


def test_evaluation_can_be_repeated():
    stream = data.evaluation_batches(DIGITS, "validation", batch_size=64)
    first, second = (np.concatenate(list(stream.as_numpy_iterator())) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_batch_larger_than_the_data_is_refused_by_name_and_number():
    with pytest.raises(data.DataError, match=r"batch_size=1298.*1297") as caught:
        data.training_batches(DIGITS, batch_size=TRAIN + 1, seed=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_batches_of_no_images_are_refused(batch_size):
    with pytest.raises(data.DataError, match="batch_size"):
        data.training_batches(DIGITS, batch_size=batch_size, seed=0)
    with pytest.raises(data.DataError, match="batch_size"):
        data.evaluation_batches(DIGITS, "test", batch_size=batch_size)
