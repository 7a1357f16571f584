"""Writes a split with TensorFlow Datasets and adds it to the other splits. An incomplete split never looks complete.

A split is written to a hidden folder and moved to its place when it is complete. An interrupted preparation leaves
the hidden folder behind; the next one deletes it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import os
import pathlib
import shutil
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from pixelvae_tf import files
from pixelvae_tf.data import prepared
from pixelvae_tf.data.schema import DataError

# Shards are so small that training can shuffle a group of whole ones in memory.
_SHARD_BYTES = (8 << 20, 32 << 20)


@dataclasses.dataclass(frozen=True)
class Target:
    """A split of a dataset to prepare.

    Attributes:
        output: the folder to name as --data_dir in training.
        dataset: name of the dataset.
        split: "train", "validation" or "test".
        image_size: height and width.
        variant: short name for how the images are made; a dataset holds one variant.
        description: how the images are made, in sentences.
    """

    output: pathlib.Path
    dataset: str
    split: str
    image_size: int
    variant: str
    description: str = ""

    @property
    def folder(self) -> pathlib.Path:
        """The folder of the complete dataset."""
        return self.output / self.dataset / prepared.size_name(self.image_size) / prepared.VERSION

    @property
    def staging(self) -> pathlib.Path:
        """The hidden folder in which the split is written."""
        return self.output / f".{self.dataset}-{self.image_size}-{self.split}.incomplete"


def checked_input(path: str, flag: str) -> pathlib.Path:
    """Returns the path that a flag names for reading. Raises DataError if it is missing or unreadable."""
    if not path:
        raise DataError(f"--{flag} is empty: name what to prepare")
    found = pathlib.Path(path).expanduser()
    if not found.exists():
        raise DataError(f"--{flag}={path}: no such file or folder")
    if not os.access(found, os.R_OK):
        raise DataError(f"--{flag}={path}: may not be read")
    return found


def checked_output(path: str) -> pathlib.Path:
    """Returns the folder that --output names. Raises DataError if it is empty, a file or not writable."""
    if not path:
        raise DataError("--output is empty: name a folder for the prepared data")
    output = pathlib.Path(path).expanduser()
    if output.exists() and not output.is_dir():
        raise DataError(f"--output={path}: is a file; name a folder")
    there = next(folder for folder in (output, *output.absolute().parents) if folder.exists())
    if there.is_dir() and (reason := files.unwritable(there)):
        raise DataError(f"--output={path}: cannot be written ({reason}); free space or name another folder")
    return output


def check_target(target: Target) -> None:
    """Raises DataError if the split is already prepared, or the folder holds another variant."""
    if not target.folder.exists():
        return
    there = prepared.read_description(target.folder)
    if there.variant != target.variant:
        raise DataError(
            f"{target.folder}: holds the variant {there.variant!r}, not {target.variant!r}; name another --output"
        )
    if target.split in there.shards:
        raise DataError(
            f"{target.folder}: the split {target.split!r} is prepared already; delete it to prepare it anew"
        )


def write_split(
    target: Target,
    images: Iterable[tuple[str, np.ndarray]],
    record: Callable[[], dict[str, Any]],
    on_image: Callable[[], Any] = lambda: None,
    tables: Mapping[str, str] = types.MappingProxyType({}),
) -> int:
    """Writes a split and adds it to its dataset.

    Args:
        target: the split to write, and where.
        images: unique names and (image_size, image_size, 3) uint8, read on demand.
        record: returns what `metadata.json` records about the split; called after all images are written.
        on_image: called for every image.
        tables: content of text files to put beside the shards, by file name.

    Returns:
        The number of images.

    Raises:
        DataError: if there are no images, two have the same name, or the disk cannot be written.
    """
    import tensorflow as tf

    # An earlier preparation may have been killed, before or after it published the split.
    shutil.rmtree(target.staging, ignore_errors=True)
    check_target(target)
    try:
        target.output.mkdir(parents=True, exist_ok=True)
        builder = _write(target, images, on_image)
        folder = pathlib.Path(builder.data_path)
        count = builder.info.splits[target.split].num_examples
        _write_metadata(target, folder, {**record(), "images": count})
        for name, text in tables.items():
            (folder / name).write_text(text)
        _publish(target, folder, list(tables))
        return count
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise DataError(f"--output={target.output}: cannot be written ({reason})") from None
    finally:
        shutil.rmtree(target.staging, ignore_errors=True)


def _write(target: Target, images: Iterable[tuple[str, np.ndarray]], on_image: Callable[[], Any]):
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    shape = (target.image_size, target.image_size, 3)
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Tensor(shape=shape, dtype=np.uint8, encoding="bytes"),
            "name": tfds.features.Text(),
        }
    )
    size = prepared.size_name(target.image_size)
    try:
        with _quiet():
            builder = tfds.dataset_builders.AdhocBuilder(
                name=target.dataset,
                version=prepared.VERSION,
                config=size,
                features=features,
                split_datasets={target.split: _examples(images, target, on_image)},
                data_dir=target.staging,
                description=f"{target.dataset}, {size}, {target.variant}. {target.description}",
            )
            builder.download_and_prepare(download_config=_small_shards())
    except AssertionError as error:
        if "same hashed key" not in str(error):
            raise
        raise DataError(f"--split={target.split}: two images have the same name; rename one") from None
    return builder


def _examples(images, target, on_image):
    empty = True
    for name, pixels in images:
        empty = False
        on_image()
        name = name.encode(errors="backslashreplace").decode()  # file names need not be valid Unicode
        yield name, {"image": pixels, "name": name}
    if empty:
        raise DataError(f"--split={target.split}: the input holds no usable image")


@contextlib.contextmanager
def _quiet():
    """Silences TFDS: its prints, and its warnings through absl."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def _small_shards():
    """Returns TFDS's settings with smaller shards. TFDS reads their sizes from the class, so subclass it."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.utils import shard_utils

    class Shards(shard_utils.ShardConfig):
        min_shard_size, max_shard_size = _SHARD_BYTES

    class Settings(tfds.download.DownloadConfig):
        def get_shard_config(self):
            return Shards()

    return Settings()


def _write_metadata(target: Target, folder: pathlib.Path, record: dict[str, Any]) -> None:
    """Writes `metadata.json`: adds this split to an existing dataset's file, or starts a new one."""
    there = target.folder / prepared.METADATA_FILE
    metadata = (
        files.read_json(there)
        if there.exists()
        else {
            "variant": target.variant,
            "image_size": target.image_size,
            "description": target.description,
            "splits": {},
            "sha256": {},
        }
    )
    metadata["splits"][target.split] = record
    metadata["sha256"].update({path.name: files.sha256(path) for path in sorted(folder.glob("*.tfrecord-*"))})
    files.write_json(folder / prepared.METADATA_FILE, metadata)


def _publish(target: Target, folder: pathlib.Path, tables: list[str]) -> None:
    """Moves a complete split to its place. The description of the dataset moves last."""
    import tensorflow_datasets as tfds

    defaults = pathlib.Path(target.dataset, ".config", "metadata.json")
    (target.output / defaults).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(target.staging / defaults, target.output / defaults)
    if not target.folder.exists():
        target.folder.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target.folder)
        return
    new, old = (tfds.builder_from_directory(place).info for place in (folder, target.folder))
    old.set_splits(tfds.core.splits.SplitDict([*old.splits.values(), *new.splits.values()]))
    shards = sorted(path.name for path in folder.glob("*.tfrecord-*"))
    for name in (*shards, *tables, prepared.METADATA_FILE):
        (folder / name).replace(target.folder / name)
    old.write_to_directory(folder, all_metadata=False)
    (folder / "dataset_info.json").replace(target.folder / "dataset_info.json")
