"""Datasets that the tools of this package prepared with TensorFlow Datasets: LSUN bedrooms and ImageNet 64x64.

    <data_dir>/<name>/<size>x<size>/<version>/<name>-<split>.tfrecord-00000-of-00016

Images are stored as raw bytes, which read ten times faster than a PNG decodes. Beside TFDS's own description,
`metadata.json` says how the images were made: the variant, and the source of each split.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib

import numpy as np

from pixelvae_tf import files
from pixelvae_tf.config import DataConfig
from pixelvae_tf.data import places
from pixelvae_tf.data.location import prepared_folder
from pixelvae_tf.data.schema import SPLITS, Classes, DataError, DatasetInfo, ImageSource

VERSION = "1.0.0"
SIZES = (32, 64)
NAMES = {"lsun_bedroom": "tools/prepare_lsun.py", "imagenet64": "tools/prepare_imagenet.py"}
METADATA_FILE = "metadata.json"
# LSUN and ImageNet publish no test images. Evaluation reads the validation images in their place.
_STAND_IN = {"test": "validation"}


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A prepared dataset on disk.

    Attributes:
        folder: the folder of its files.
        shards: for each split, the files and the number of images in each file.
        image_size: height and width.
        variant: how its images were made.
    """

    folder: pathlib.Path
    shards: dict[str, tuple[tuple[pathlib.Path, int], ...]]
    image_size: int
    variant: str


def size_name(image_size: int) -> str:
    """Returns the name of the folder, and of the TFDS configuration, for a size."""
    return f"{image_size}x{image_size}"


def describe(config: DataConfig) -> DatasetInfo:
    """Describes the dataset from its files. Raises DataError if it is not prepared."""
    found = find(config)
    counts = {split: sum(length for _, length in found.shards.get(split, ())) for split in SPLITS}
    for split, stand_in in _STAND_IN.items():
        counts[split] = counts[split] or counts[stand_in]
    return DatasetInfo(config.dataset, (found.image_size, found.image_size, 3), 256, counts, found.variant)


def fingerprint(config: DataConfig) -> dict[str, tuple[int, list]]:
    """Returns for each split the number of images, and its shards: name, length and checksum when prepared."""
    found = find(config)
    sums = files.read_json(found.folder / METADATA_FILE).get("sha256", {})
    return {
        split: (
            sum(length for _, length in shards),
            [(path.name, length, sums.get(path.name)) for path, length in shards],
        )
        for split, shards in found.shards.items()
    }


def classes(config: DataConfig) -> Classes:
    """Returns the sorted folders that the training images came from. Raises DataError if these are not classes."""
    if config.dataset != "imagenet64":
        raise DataError(f"--dataset={config.dataset}: all of its images are of one class; leave --num_classes at 0")
    counts = _classes(config, "train")["images"]
    return Classes(tuple(sorted(counts)), tuple(counts[name] for name in sorted(counts)))


def _classes(config: DataConfig, split: str) -> dict:
    """Reads a split's classes from the metadata: `images` of each class, and `depth`, the folders above theirs."""
    found = find(config)
    described = files.read_json(found.folder / METADATA_FILE)["splits"]
    split = split if split in described else _STAND_IN.get(split, split)
    recorded = described.get(split, {}).get("classes")
    if not recorded:
        raise DataError(
            f"{found.folder}: the images of {split} have no classes; a model of classes (--num_classes) needs them "
            "prepared from a folder or an archive with a folder for each class, by this version of "
            f"{NAMES[config.dataset]}"
        )
    return recorded


def _class_of(serialized, names: tuple[str, ...], depth: int):
    """Returns the labels of serialized examples, (records,) int32: the index of the class folder in each name."""
    import tensorflow as tf

    paths = tf.io.parse_example(serialized, {"name": tf.io.FixedLenFeature([], tf.string)})["name"]
    folders = tf.strings.regex_replace(paths, f"(?s)^(?:[^/]*/){{{depth}}}([^/]*)/.*$", r"\1")
    return tf.argmax(tf.cast(folders[:, None] == tf.constant(names), tf.int32), axis=1, output_type=tf.int32)


def source(config: DataConfig, split: str, labelled: bool = False) -> ImageSource:
    """Returns the images of a split, which are read from its shards on demand."""
    import tensorflow as tf

    found = find(config)
    shards = _shards(found, config, split)
    paths = tf.constant([str(path) for path, _ in shards])
    lengths = np.array([length for _, length in shards], np.int64)
    shape = (found.image_size, found.image_size, 3)

    def read(numbers):
        # Reads one whole shard after the other, and opens and prefetches the next ones meanwhile.
        records = tf.data.Dataset.from_tensor_slices(tf.gather(paths, numbers)).interleave(
            tf.data.TFRecordDataset,
            cycle_length=4,
            block_length=int(lengths.max()),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        expected = tf.reduce_sum(tf.gather(tf.constant(lengths), numbers))
        return records.apply(tf.data.experimental.assert_cardinality(expected))

    def decode(records):
        images = tf.io.parse_example(records, {"image": tf.io.FixedLenFeature([], tf.string)})["image"]
        return tf.reshape(tf.io.decode_raw(images, tf.uint8), (-1, *shape))

    labels = None
    if labelled:
        names, of_split = classes(config).names, _classes(config, split)
        for name in sorted(set(of_split["images"]) - set(names)):
            raise DataError(f"{found.folder}: {split} has the class {name!r}, and train has not; prepare both alike")
        labels = functools.partial(_class_of, names=names, depth=of_split["depth"])
    return ImageSource(tuple(map(int, lengths)), shape, read, decode, tuple(path for path, _ in shards), labels)


def _shards(found: Prepared, config: DataConfig, split: str) -> tuple[tuple[pathlib.Path, int], ...]:
    shards = found.shards.get(split) or found.shards.get(_STAND_IN.get(split, ""))
    if not shards:
        raise DataError(
            f"{found.folder}: holds no split {split!r}; prepare it with {NAMES[config.dataset]} --split="
            f"{_STAND_IN.get(split, split)}"
        )
    for path, _ in shards:
        if not path.is_file():
            raise DataError(f"{path}: this file of the dataset is missing; restore it or prepare it again")
    return shards


def find(config: DataConfig) -> Prepared:
    """Finds the dataset of a configuration.

    Raises:
        DataError: if it is not prepared, has another size or variant, or its description is damaged.
    """
    root = prepared_folder(config) / config.dataset
    there = [size for size in SIZES if (root / size_name(size) / VERSION / "dataset_info.json").is_file()]
    wanted = config.image_size
    if not there and (hint := places.hint(prepared_folder(config), config.dataset)):
        raise DataError(hint)
    if not there or (wanted and wanted not in there):
        size = f" at {size_name(wanted)}" if wanted else ""
        have = f"; it holds {' and '.join(map(size_name, there))}" if there else ""
        raise DataError(
            f"{config.dataset}: no prepared data{size} in {prepared_folder(config)}{have}; prepare it with "
            f"{NAMES[config.dataset]} --output={prepared_folder(config)}"
            f"{f' --image_size={wanted}' if wanted else ''}, or name its folder with --data_dir"
        )
    if not wanted and len(there) > 1:
        raise DataError(
            f"{root}: holds {' and '.join(map(size_name, there))}; choose one with --image_size={there[-1]}"
        )
    size = wanted or there[0]
    found = read_description(root / size_name(size) / VERSION)
    if found.image_size != size:
        raise DataError(f"{found.folder}: describes images of {size_name(found.image_size)}; prepare it again")
    if config.data_variant and config.data_variant != found.variant:
        raise DataError(
            f"--data_variant={config.data_variant}: {found.folder} holds the variant {found.variant!r}, on which "
            "likelihoods are not comparable; name another --data_dir or prepare the variant"
        )
    return found


def read_description(folder: pathlib.Path) -> Prepared:
    """Reads a dataset's own description. Raises DataError if it is missing or damaged."""
    metadata_file, info_file = folder / METADATA_FILE, folder / "dataset_info.json"
    times = tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in (metadata_file, info_file))
    return _read_description(folder, times)


def _check_counts(shards: dict[str, tuple[tuple[pathlib.Path, int], ...]], splits: dict[str, dict]) -> None:
    """Raises ValueError if the two descriptions of a dataset give different numbers of images."""
    for name in {*shards, *splits}:
        counted, written = sum(length for _, length in shards.get(name, ())), splits.get(name, {}).get("images", 0)
        if counted != written:
            raise ValueError(f"{name}: {counted} images by dataset_info.json and {written} by {METADATA_FILE}")


@functools.lru_cache(maxsize=16)
def _read_description(folder: pathlib.Path, times: tuple[int, ...]) -> Prepared:
    import tensorflow_datasets as tfds

    try:
        metadata = files.read_json(folder / METADATA_FILE)
        splits = tfds.builder_from_directory(folder).info.splits
        shards = {
            name: tuple(zip(map(pathlib.Path, info.filepaths), info.shard_lengths, strict=True))
            for name, info in splits.items()
        }
        _check_counts(shards, metadata["splits"])
        return Prepared(folder, shards, int(metadata["image_size"]), str(metadata["variant"]))
    except Exception as error:  # TFDS raises many kinds for a damaged description
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"{folder}: the description of the prepared data cannot be read ({reason}); delete this folder and "
            "prepare it again"
        ) from None
