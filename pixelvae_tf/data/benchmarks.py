"""How fast images are prepared and read, beside what the disk and the decoder alone give in the same run."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pixelvae_tf.config import DataConfig
from pixelvae_tf.data import registry
from pixelvae_tf.data.preparation import archives, imagenet, pixels
from pixelvae_tf.data.preparation.memory import PeakMemory
from pixelvae_tf.data.preparation.problems import Problems
from pixelvae_tf.data.preparation.writer import checked_input

_DECODED_ALONE = 5000  # images from which the rate of one decoder is taken


def measure_reading(config: DataConfig, *, batch_size: int, images: int) -> Iterator[dict[str, Any]]:
    """Rates of reading a dataset's training images: files, records, decoding alone, and the whole pipeline.

    Args:
        config: a prepared dataset or an image folder.
        batch_size: images a batch.
        images: how many the pipeline gives, over several epochs where the dataset has fewer.

    Yields:
        For each, a record with `images_per_second` and `peak_memory_mib`. The files are in the system's cache
        after the first, as they are in every epoch but the first of a dataset that fits in memory.
    """
    import tensorflow as tf

    from pixelvae_tf.data.pipeline import training_batches

    source = registry.source(config, "train")
    count = sum(source.shard_lengths)
    shards = tf.range(len(source.shard_lengths), dtype=tf.int64)
    names = source.files
    yield _timed("read: bytes of the files", lambda: (count, sum(len(path.read_bytes()) for path in names)))
    records = source.read(shards).batch(batch_size)
    yield _timed("read: records, with checksums", lambda: (_consume(records), None))
    held = list(records.take(max(1, _DECODED_ALONE // batch_size)))

    def decode_all():
        return sum(len(source.decode(part)) for part in held), None

    yield _timed("decode: records in memory, one thread", decode_all)
    stream = training_batches(config, batch_size=batch_size)
    started = time.monotonic()
    iterator = iter(stream)
    next(iterator)
    first = time.monotonic() - started
    batches = itertools.islice(iterator, -(-images // batch_size))
    row = _timed("pipeline: shuffled training batches", lambda: (_consume(batches), None))
    yield {**row, "batch_size": batch_size, "first_batch_seconds": round(first, 2)}


def measure_preparing(archive: str, image_size: int) -> Iterator[dict[str, Any]]:
    """Rates of preparing a tar archive of images: reading it, decoding in one process, and the whole preparation.

    Args:
        archive: as `tools/prepare_imagenet.py` takes it.
        image_size: 64 or 32.

    Yields:
        For each, a record with `images_per_second` and `peak_memory_mib`.
    """
    path = checked_input(archive, "input")
    read = archives.read_folder if path.is_dir() else archives.read_tar

    def read_all():
        sizes = [len(encoded) for _, encoded in read(path, Problems("fail"))]
        return len(sizes), sum(sizes)

    yield _timed("read: image files of the archive", read_all)
    sample = list(itertools.islice(read(path, Problems("fail")), _DECODED_ALONE))
    geometry = pixels.Geometry(image_size, halve=image_size * 2 == 64)

    def decode_sample():
        return len(pixels.convert_many(sample, geometry)), None

    yield _timed("decode: one process", decode_sample)
    with tempfile.TemporaryDirectory() as output:
        request = imagenet.ImageNetRequest(archive, output, "train", image_size=image_size, variant="benchmark")
        summary = imagenet.prepare(request)
    wanted = ("images", "seconds", "images_per_second", "peak_memory_mib")
    yield {"measure": "prepare: whole, all cores", **{key: summary[key] for key in wanted}}


def _timed(name: str, work: Callable[[], tuple[int, int | None]]) -> dict[str, Any]:
    with PeakMemory() as memory:
        started = time.monotonic()
        images, size = work()
        seconds = time.monotonic() - started
    row = {"measure": name, "images": images, "seconds": round(seconds, 3)}
    row |= {"images_per_second": round(images / seconds), "peak_memory_mib": memory.mib}
    return row if size is None else {**row, "megabytes_per_second": round(size / seconds / 1e6)}


def _consume(batches: Iterable[Any]) -> int:
    return sum(int(batch.shape[0]) for batch in batches)


def table(rows: list[dict[str, Any]]) -> str:
    """The rates as a table for people."""
    lines = [f"{'':42}{'images':>9}{'seconds':>9}{'images/s':>10}{'peak MiB':>10}"]
    for row in rows:
        lines.append(
            f"{row['measure']:42}{row['images']:>9}{row['seconds']:>9.2f}{row['images_per_second']:>10}"
            f"{row['peak_memory_mib']:>10}"
        )
    return "\n".join(lines)
