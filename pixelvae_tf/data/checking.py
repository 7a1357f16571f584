"""Compares a prepared dataset with its own checksums and counts, image by image."""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Callable
from typing import Any

from pixelvae_tf import files
from pixelvae_tf.config import DataConfig
from pixelvae_tf.data import prepared
from pixelvae_tf.data.damage import damage_of

_NAMES_TOLD = 20


def check(config: DataConfig, on_image: Callable[[], Any] = lambda: None) -> dict[str, Any]:
    """Reads and checks a whole prepared dataset.

    Args:
        config: the dataset and its folder.
        on_image: called for every image.

    Returns:
        `folder`; `images`: the number in each split; `damaged`: files whose checksum, records or count differ from
        the recorded ones, each with the reason; `doubled`: names that occur twice; `alike`: the number of images that
        repeat an earlier one pixel for pixel, and the names of the first of them.

    Raises:
        DataError: if the dataset is missing or its description is damaged.
    """
    found = prepared.find(config)
    sums = files.read_record(found.folder / prepared.METADATA_FILE, {"sha256": dict})["sha256"]
    damaged, names, pictures = [], _Seen(), _Seen()
    for split, shards in sorted(found.shards.items()):
        for path, length in shards:
            if reason := _difference(path, length, sums.get(path.name)):
                damaged.append(f"{path.name}: {reason}")
                continue
            for name, image in _records(path):
                on_image()
                names.add(name, name)
                pictures.add(image, f"{split}: {name.decode(errors='backslashreplace')}")
    return {
        "folder": str(found.folder),
        "images": {split: sum(length for _, length in shards) for split, shards in sorted(found.shards.items())},
        "damaged": damaged,
        "doubled": [name.decode(errors="backslashreplace") for name in names.again[:_NAMES_TOLD]],
        "alike": {"count": pictures.count, "names": pictures.again[:_NAMES_TOLD]},
    }


class _Seen:
    """Finds repeated content by short digests: 16 bytes for each of millions of images.

    Attributes:
        count: repetitions so far.
        again: labels of the first repetitions.
    """

    def __init__(self):
        self.count = 0
        self.again = []
        self._digests = set()

    def add(self, content: bytes, label) -> None:
        digest = hashlib.blake2b(content, digest_size=16).digest()
        if digest in self._digests:
            self.count += 1
            if len(self.again) < _NAMES_TOLD:
                self.again.append(label)
        self._digests.add(digest)


def _difference(path: pathlib.Path, length: int, checksum: str | None) -> str | None:
    if reason := damage_of(path, length):
        return reason
    if checksum is None:
        return f"{prepared.METADATA_FILE} has no checksum of it"
    return None if files.sha256(path) == checksum else f"SHA-256 is not the one in {prepared.METADATA_FILE}"


def _records(path: pathlib.Path):
    """Yields the name and the pixels of each image in an undamaged shard."""
    import tensorflow as tf

    features = {name: tf.io.FixedLenFeature([], tf.string) for name in ("name", "image")}
    for record in tf.data.TFRecordDataset(str(path)).map(lambda record: tf.io.parse_single_example(record, features)):
        yield record["name"].numpy(), record["image"].numpy()
