"""A model whose pixels are mixtures of logistics: probabilities, samples, colors in order, half precision."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tiny
from agreement import assert_frequencies, assert_same

from pixelvae_tf import PixelVAE

# 729 images.
CONFIG = dataclasses.replace(tiny.SMALL_COLOR, output_distribution="logistics", mixture_components=2)
IMAGES = tiny.all_images(CONFIG)


@pytest.mark.parametrize("network", ["bias, gated", "independent pixels"])
def test_the_probabilities_of_all_images_given_z_sum_to_one(network):
    score = tiny.scorer(tiny.shared_model(CONFIG, **tiny.NETWORKS[network]))
    probabilities = np.exp(tiny.everywhere(score, IMAGES, np.array([-2.0, 1.5])))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
    assert np.abs(probabilities[0] - probabilities[1]).sum() > 0.02
    assert probabilities.max() > 3 / len(IMAGES)


def test_samples_have_the_frequencies_of_the_marginal_over_all_images():
    model = tiny.shared_model(CONFIG)
    log_p = tiny.exact_log_likelihood(model, IMAGES)
    assert_frequencies(model.sample(20_000, seed=1).astype("int64"), CONFIG, log_p)


@pytest.mark.parametrize(
    ("changes", "temperature"),
    [
        ({"pixel_levels": 256}, 1.0),
        pytest.param({"pixel_levels": 17, "masked_blocks": "row_lstm"}, 0.7, marks=pytest.mark.exhaustive),
        pytest.param({"pixel_levels": 2, "embedding_channels": 0}, 1.0, marks=pytest.mark.exhaustive),
    ],
    ids=["256 levels", "17 levels, PixelRNN", "2 levels"],
)
def test_both_samplers_draw_the_same_images(changes, temperature):
    model = tiny.shared_model(CONFIG, image_shape=(3, 4, 3), **changes)
    assert_same(model, batch_size=5, known_share=0.3, temperature=temperature)


def test_every_parameter_of_a_color_depends_on_the_colors_before_it_and_on_no_later_one():
    model = tiny.shared_model(CONFIG)
    condition = model.pixel_decoder.condition(tf.ones((1, 1)))
    image = np.ones((1, 1, 2, 3), "int32")

    def parameters(image) -> np.ndarray:
        """Logits, means and scales, (parameters, columns * colors, components)."""
        return np.reshape(model.p_x_given_z1(tf.constant(image), condition)[:3], (3, 6, 2))

    before = parameters(image)
    for place in range(6):
        changed = image.copy()
        changed.reshape(-1)[place] = 2
        differs = (parameters(changed) != before).all(axis=-1)
        np.testing.assert_array_equal(differs, np.broadcast_to(np.arange(6) > place, (3, 6)))


def test_in_bfloat16_the_distribution_is_in_float32_and_near():
    exact = tiny.shared_model(CONFIG)
    rounded = PixelVAE(CONFIG, dtype="mixed_bfloat16")
    rounded.set_weights(exact.get_weights())
    p_x = rounded.p_x_given_z1(IMAGES[:2], rounded.pixel_decoder.condition(tf.zeros((2, 1))))
    assert {part.dtype for part in p_x[:3]} == {tf.float32}
    np.testing.assert_allclose(rounded.elbo(IMAGES).elbo, exact.elbo(IMAGES).elbo, rtol=0.05)
