"""What all tests share."""

import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

# Files of minutes, longest first.
_LONG = (
    "test_devices.py",
    "test_benchmarks.py",
    "test_export.py",
    "test_resume.py",
    "test_complete.py",
    "test_cached_sampling.py",
    "test_commands.py",
    "test_hierarchy.py",
)


def pytest_collection_modifyitems(items):
    """Begins with the long files, so that at the end no worker has one before it while the others have none."""
    items.sort(key=lambda item: _LONG.index(item.path.name) if item.path.name in _LONG else len(_LONG))


@pytest.fixture(autouse=True)
def seeded():
    """Fresh weights and `np.random` are the same in every run of a test, whichever tests ran before it."""
    import keras

    keras.utils.set_random_seed(0)
