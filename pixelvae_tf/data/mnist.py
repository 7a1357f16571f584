"""MNIST and its fixed binarization, prepared by TensorFlow Datasets.

Prepared data is read from `--data_dir`, else TFDS_DATA_DIR, else ~/tensorflow_datasets, and downloaded if missing.
Both datasets are small (55 MB at most), and each split in use stays in memory.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import pathlib
import socket
import urllib.parse

import numpy as np

from pixelvae_tf.config import DataConfig
from pixelvae_tf.data import places
from pixelvae_tf.data.location import prepared_folder
from pixelvae_tf.data.schema import SPLITS, Classes, DataError, DatasetInfo

_SHAPE = (28, 28, 1)
_LEVELS = {"binarized_mnist": 2, "mnist": 256}
_SIZES = {"train": 50_000, "validation": 10_000, "test": 10_000}
# MNIST itself has no validation split: the last 10,000 training images are held out.
_TFDS_SPLITS = {
    "binarized_mnist": {split: split for split in _SIZES},
    "mnist": {"train": "train[:50000]", "validation": "train[50000:]", "test": "test"},
}
# The host from which TensorFlow Datasets downloads each.
_SOURCES = {
    "binarized_mnist": "http://www.cs.toronto.edu",
    "mnist": "https://storage.googleapis.com",
}
_PROBE_SECONDS = 5
# Examples read at a time. One by one, 60,000 would take a minute.
_BATCH = 1000
_BINARIZATION_SEED = 0


def describe(config: DataConfig) -> DatasetInfo:
    """Returns the facts of the dataset."""
    return DatasetInfo(config.dataset, _SHAPE, _LEVELS[config.dataset], dict(_SIZES))


def classes(config: DataConfig) -> Classes:
    """Returns the digits. Raises DataError for the fixed binarization, and as `load_labelled` does."""
    if config.dataset == "binarized_mnist":
        raise DataError(
            "--dataset=binarized_mnist: this fixed binarization comes without labels; a model of classes needs another "
            "dataset, such as mnist or digits"
        )
    counts = np.bincount(load_labelled(config, "train")[1], minlength=10)
    return Classes(tuple(map(str, range(10))), tuple(counts.tolist()))


@functools.cache
def load(config: DataConfig, split: str) -> np.ndarray:
    """Returns the images of a split, (examples, 28, 28, 1) uint8.

    Raises:
        DataError: if the data is neither prepared nor downloadable, or is damaged.
    """
    return _read(config, _TFDS_SPLITS[config.dataset][split], "image", (_SIZES[split], *_SHAPE))


@functools.cache
def load_labelled(config: DataConfig, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns images of this kind and their classes 0..9: (examples, 28, 28, 1) and (examples,) uint8.

    The fixed binarization has no classes and another order. In its place, the images of `mnist` are binarized anew in
    the same way: a pixel is 1 with the probability of its intensity, from a fixed seed.

    Raises:
        DataError: if `mnist` is neither prepared nor downloadable, or is damaged.
    """
    labelled = dataclasses.replace(config, dataset="mnist")
    images = load(labelled, split)
    labels = _read(labelled, _TFDS_SPLITS["mnist"][split], "label", (_SIZES[split],))
    return (images if config.dataset == "mnist" else _binarized(images, split)), labels


def _binarized(images: np.ndarray, split: str) -> np.ndarray:
    rng = np.random.default_rng([_BINARIZATION_SEED, SPLITS.index(split)])
    return (rng.random(images.shape, np.float32) < images / np.float32(255)).astype("uint8")


def _read(config: DataConfig, tfds_split: str, feature: str, shape: tuple[int, ...]) -> np.ndarray:
    import tensorflow as tf
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    # TFDS warns about folders that it then fails to read. The errors below report them.
    logging.getLogger("absl").setLevel(logging.ERROR)
    folder = prepared_folder(config)
    try:
        builder = tfds.builder(config.dataset, data_dir=str(folder))
    except Exception as error:  # TFDS raises many kinds for a damaged folder
        raise _damaged(folder / config.dataset, error) from None
    if not builder.is_prepared() and not _has_data(builder):
        _check_place(folder, config.dataset, str(builder.version))
        _download(builder, config.dataset, folder)
    try:
        dataset = builder.as_dataset(split=tfds_split, shuffle_files=False, batch_size=_BATCH)
        values = np.concatenate([examples[feature] for examples in tfds.as_numpy(dataset)])
    except (tf.errors.OpError, ValueError, AssertionError, KeyError, OSError) as error:
        raise _damaged(pathlib.Path(builder.data_path), error) from None
    if values.shape != shape:
        raise DataError(
            f"{builder.data_path}: holds {values.shape} where {shape} belongs; delete it and prepare it again"
        )
    return values.astype("uint8")


def _check_place(folder: pathlib.Path, name: str, version: str) -> None:
    """Raises DataError if the dataset is above or below the folder, or in it in another version."""
    if hint := places.hint(folder, name):
        raise DataError(hint)
    others = sorted(place.parent.name for place in (folder / name).glob("*/dataset_info.json"))
    if others:
        raise DataError(
            f"{folder / name}: holds version {' and '.join(others)}, and the installed TensorFlow Datasets reads "
            f"{version}; prepare that, in this folder or in another --data_dir"
        )


def _has_data(builder) -> bool:
    return pathlib.Path(builder.data_path).exists()


def _damaged(folder: pathlib.Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:300]
    return DataError(f"{folder}: the prepared data cannot be read ({reason}); delete it and prepare it again")


def _download(builder, name: str, folder: pathlib.Path) -> None:
    """Downloads and prepares a dataset. Fails at once if its host is unreachable; TFDS would retry for minutes."""
    remedy = (
        f"on a machine with a network run: python -c \"import tensorflow_datasets as tfds; tfds.load('{name}')\" "
        "and pass the folder it fills as --data_dir or TFDS_DATA_DIR; flags/digits.cfg needs no download"
    )
    if not _reachable(_SOURCES[name]):
        raise DataError(f"{name}: no prepared data in {folder}, and {_SOURCES[name]} cannot be reached; {remedy}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        builder.download_and_prepare()
    except Exception as error:  # the network, the disk or the archive
        reason = " ".join(str(error).split())[:300]
        raise DataError(f"{name}: the download to {folder} failed ({reason}); {remedy}") from None


def _reachable(url: str) -> bool:
    """Returns whether a connection to the host of `url`, or to its proxy, opens within a few seconds."""
    address = urllib.parse.urlsplit(url)
    proxy = os.environ.get(f"{address.scheme}_proxy") or os.environ.get(f"{address.scheme}_proxy".upper())
    target = urllib.parse.urlsplit(proxy) if proxy else address
    port = target.port or (443 if target.scheme == "https" else 80)
    try:
        with socket.create_connection((target.hostname, port), timeout=_PROBE_SECONDS):
            return True
    except OSError:
        return False
