"""What all tests share."""

import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"


@pytest.fixture(autouse=True)
def seeded():
    """Fresh weights and `np.random` are the same in every run of a test, whichever tests ran before it."""
    import keras

    keras.utils.set_random_seed(0)
