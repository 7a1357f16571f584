"""The units of masked layers against NumPy."""

import numpy as np
import scipy.special

from pixelvae_tf.layers.units import apply_unit, parts_of

MAPS = np.random.default_rng(0).normal(scale=3.0, size=(2, 3, 4, 6)).astype("float32")


def test_the_gated_unit_is_the_tanh_of_one_half_times_the_sigmoid_of_the_other():
    signal, gate = MAPS[..., :3], MAPS[..., 3:]
    expected = np.tanh(signal) * scipy.special.expit(gate)
    np.testing.assert_allclose(apply_unit("gated", MAPS), expected, rtol=1e-5, atol=1e-6)
    assert parts_of("gated") == 2


def test_the_ungated_unit_is_a_relu():
    np.testing.assert_array_equal(apply_unit("relu", MAPS), np.maximum(MAPS, 0.0))
    assert parts_of("relu") == 1
