"""What all tests share."""

import ctypes
import gc
import os
import sys

import pytest
from modes import as_in_production, eagerly
from seeds import set_seeds

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

# Files of minutes, longest first.
_LONG = (
    "test_export_networks.py",
    "test_export.py",
    "test_step_benchmark.py",
    "test_worker_runs.py",
    "test_replicas.py",
    "test_resume.py",
    "test_comparisons.py",
    "test_cached_sampling.py",
    "test_hierarchy.py",
    "test_fitting.py",
    "test_benchmarks.py",
    "test_tour.py",
    "test_fit_arguments.py",
    "test_prior.py",
    "test_complete.py",
    "test_recompute.py",
    "test_streams.py",
    "test_commands.py",
    "test_prepare_lsun.py",
    "test_model.py",
    "test_dropout.py",
    "test_naive_sampling.py",
    "test_pretrained.py",
    "test_pixelrnn.py",
)


def pytest_configure(config):
    config.addinivalue_line("markers", "eagerly(wanted=True): functions run op by op, without graphs")
    config.addinivalue_line("markers", "as_in_production: graphs are optimized, and compiled by XLA, as for users")
    config.addinivalue_line(
        "markers", "exhaustive: repeats a test with another network or setting; `make exhaustive` runs it"
    )


def pytest_collection_modifyitems(items):
    """Begins with the long files, so that at the end no worker has one before it while the others have none."""
    items.sort(key=lambda item: _LONG.index(item.path.name) if item.path.name in _LONG else len(_LONG))
    # What was imported stays: it need not be looked through whenever a traced graph is thrown away.
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Runs graphs as they are traced, but in tests about XLA and in those that compare with a process of a user's.

    Fixtures that trace belong to the mode of the test that comes first.
    """
    with as_in_production(item.get_closest_marker("as_in_production") is not None):
        marker = item.get_closest_marker("eagerly")
        if marker is None or marker.args == (False,):
            return (yield)
        with eagerly():
            return (yield)


@pytest.fixture(autouse=True)
def seeded():
    """Fresh weights and `np.random` are the same in every run of a test, whichever tests ran before it."""
    set_seeds(0)


@pytest.fixture(autouse=True, scope="module")
def memory_given_back():
    """The memory of a file's graphs goes back to the system, which glibc does not do by itself."""
    yield
    gc.collect()
    # What is left belongs to models that later files share. The next collections need not look through it.
    gc.freeze()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


@pytest.fixture(autouse=True, scope="module")
def unchanged():
    """Models that tests share are at the end of a file what they were."""
    yield
    import tiny

    assert not (changed := tiny.changed_models()), f"use tiny.model where a test changes its model: {changed}"
