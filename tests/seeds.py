"""Seeds of the tests."""

import random

import numpy as np


def set_seeds(seed: int) -> None:
    """Of fresh weights, for which Keras asks Python, and of `np.random`; all other random numbers here name their seed.

    `keras.utils.set_random_seed` would do so too, but seeds TensorFlow as well, which then optimizes and compiles
    anew every graph that was run before.
    """
    random.seed(seed)
    np.random.seed(seed)
