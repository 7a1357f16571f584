"""Batches are computed in few sizes, and no image notices."""

import numpy as np
import pytest
import tensorflow as tf
import tiny

from pixelvae_tf.model import batch_sizes
from pixelvae_tf.model.graphs import Graphs
from pixelvae_tf.probability import randomness


def test_the_sizes_are_few_and_no_batch_of_a_core_or_more_grows_by_over_an_eighth():
    counts = np.arange(1025)
    sizes_of = tf.function(lambda counts: tf.map_fn(batch_sizes.padded_size, counts))
    sizes = sizes_of(counts.astype("int32")).numpy()
    assert (sizes >= counts).all() and (np.diff(sizes) >= 0).all()
    assert len(set(sizes[1:])) == 50
    assert list(sizes[:10]) == [0, 1, 2, 4, 4, 8, 8, 8, 8, 12]
    assert (sizes[32:] <= counts[32:] * 9 / 8).all()
    np.testing.assert_array_equal(sizes_of(sizes), sizes)
    assert int(batch_sizes.padded_size((1 << 30) - 1)) == 1 << 30


@pytest.mark.parametrize("compiling, computed", [(True, 8), (False, 5)])
def test_a_batch_is_filled_up_where_xla_compiles_and_results_are_cut_to_it(compiling, computed, monkeypatch):
    monkeypatch.setattr(batch_sizes, "is_compiling", lambda: compiling)
    images = tf.TensorSpec((None, 2), tf.uint8)

    @tf.function(input_signature=[images, images, tf.TensorSpec((2,), tf.int32)])
    @batch_sizes.in_few_sizes
    def sizes(images, shared, seed):
        return [tf.fill([tf.shape(images)[0]], tf.shape(array)[0]) for array in (images, shared, seed)]

    found = sizes(np.zeros((5, 2), np.uint8), np.zeros((1, 2), np.uint8), (0, 0))
    np.testing.assert_array_equal(found, [[computed] * 5, [1] * 5, [2] * 5])


@pytest.mark.parametrize("draw", [randomness.normal, randomness.uniform])
def test_the_noise_of_an_image_does_not_depend_on_how_many_come_after_it(draw):
    for shape in ((3,), (5, 3, 1)):
        of_many = draw((100, *shape), (3, 4)).numpy()
        for count in (1, 2, 7, 99):
            np.testing.assert_array_equal(draw((count, *shape), (3, 4)), of_many[:count])


def results(graphs: Graphs, images, mask) -> dict:
    """What graphs that encode, score and draw give for images."""
    unchanged, seed = tf.ones([1 + graphs.config.num_levels]), tf.constant([5, 0])
    return {
        "encode": graphs.encode(images, 3),
        "log_likelihood": graphs.log_likelihood(images, 5, 2),
        "complete": graphs.complete["cached"](images, mask, seed, unchanged),
        "reconstruct": graphs.complete["cached"](images, np.zeros_like(mask[:1]), seed, unchanged),
    }


def test_images_that_fill_up_a_batch_change_no_other(monkeypatch):
    model, generator = tiny.shared_model(), np.random.default_rng(0)
    images = generator.integers(2, size=(5, *model.config.image_shape)).astype("uint8")
    mask = generator.integers(2, size=images.shape).astype(bool)
    alone = results(model.graphs, images, mask)
    monkeypatch.setattr(batch_sizes, "is_compiling", lambda: True)
    filled_up = results(Graphs(model), images, mask)
    for name, expected in alone.items():
        tf.nest.map_structure(
            lambda found, wanted: np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6),
            filled_up[name],
            expected,
        )
