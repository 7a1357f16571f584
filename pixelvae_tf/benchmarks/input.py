"""Measures the speed of reading prepared images, beside the rates of the disk and the decoder alone."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow as tf

from pixelvae_tf.benchmarks.rates import table, timed
from pixelvae_tf.benchmarks.requests import Input
from pixelvae_tf.config import DataConfig
from pixelvae_tf.data import registry
from pixelvae_tf.data.augmentation import Augmentation
from pixelvae_tf.data.pipeline import training_batches

__all__ = ["measure", "table"]
_DECODED_ALONE = 5000  # images to measure the rate of one decoder on


def measure(request: Input) -> Iterator[dict[str, Any]]:
    """Measures rates of reading a dataset's training images: files, records, decoding alone, and the whole pipeline.

    If the dataset has fewer images than requested, the pipeline repeats it. With augmentation a second pipeline
    transforms images, for comparison.

    Yields:
        For each rate, a record with `images_per_second` and `peak_memory_mib`. After the first record the files are in
        the system's cache, as in all epochs after the first if the dataset fits in memory.
    """
    config = DataConfig(request.dataset, request.data_dir, image_size=request.image_size)
    batch_size = request.batch_size
    source = registry.source(config, "train")
    count = sum(source.shard_lengths)
    shards = tf.range(len(source.shard_lengths), dtype=tf.int64)
    names = source.files
    yield timed("read: bytes of the files", lambda: (count, sum(len(path.read_bytes()) for path in names)))
    records = source.read(shards).batch(batch_size)
    yield timed("read: records, with checksums", lambda: (_consume(records), None))
    held = list(records.take(max(1, _DECODED_ALONE // batch_size)))

    def decode_all():
        return sum(len(source.decode(batch)) for batch in held), None

    yield timed("decode: records in memory, one thread", decode_all)
    pipelines = {"pipeline: shuffled training batches": 0.0}
    if request.augmentation:
        pipelines[f"pipeline: the same, {request.augmentation:.0%} transformed"] = request.augmentation
    for name, share in pipelines.items():
        stream = training_batches(config, batch_size=batch_size, augmentation=Augmentation(share))
        started = time.monotonic()
        iterator = iter(stream)
        next(iterator)
        first = time.monotonic() - started
        batches = itertools.islice(iterator, -(-request.images // batch_size))
        row = timed(name, lambda batches=batches: (_consume(batches), None))
        yield {**row, "batch_size": batch_size, "first_batch_seconds": round(first, 2)}


def _consume(batches: Iterable[Any]) -> int:
    return sum(int(batch.shape[0]) for batch in batches)
