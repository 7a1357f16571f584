"""Importance samples that are taken together are those that would be taken one after another."""

import numpy as np
import pytest
import tensorflow as tf
import tiny
from models import THREE_LEVELS, some_images

from pixelvae_tf.model.graphs import Graphs
from pixelvae_tf.probability import objectives, randomness
from pixelvae_tf.sampling.noise import latent_noise

pytestmark = pytest.mark.eagerly

SAMPLES, SEED = 7, 3
CONFIGS = {"one level": tiny.BINARY, "three levels": THREE_LEVELS}


def one_after_another(model, images) -> np.ndarray:
    """The estimate by its definition."""
    posteriors = model.q_z_given_x(images)
    total = tf.fill([len(images)], -float("inf"))
    for index in range(SAMPLES):
        noise = latent_noise(model.config, len(images), randomness.stream(SEED, "latents", index))
        total = objectives.accumulate_log_weight(total, model.log_importance_weight(images, posteriors, noise))
    return total.numpy() - np.log(SAMPLES)


@pytest.mark.parametrize("name", CONFIGS)
def test_samples_taken_together_have_the_noise_of_samples_one_after_another(name):
    """One at once, three with a rest of one, and more than there are."""
    model = tiny.shared_model(CONFIGS[name], gain=1.0)
    height, width, _ = model.config.image_shape
    images = some_images(model.config, 5)
    expected = one_after_another(model, images)
    for at_once in (1, 3, 100):
        graphs = Graphs(model, pixels_a_pass=at_once * len(images) * height * width)
        found = graphs.log_likelihood(images, SAMPLES, SEED).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=f"{at_once} at once")
