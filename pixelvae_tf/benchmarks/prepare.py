"""Measures the speed of preparing images, beside reading the archive and decoding in one process."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from typing import Any

from pixelvae_tf.benchmarks.rates import table, timed
from pixelvae_tf.benchmarks.requests import Prepare
from pixelvae_tf.data import pixels
from pixelvae_tf.data.preparation import archives, imagenet
from pixelvae_tf.data.preparation.problems import Problems
from pixelvae_tf.data.preparation.writer import checked_input

__all__ = ["measure", "table"]
_DECODED_ALONE = 5000  # images to measure the rate of one decoder on


def measure(request: Prepare) -> Iterator[dict[str, Any]]:
    """Measures rates of preparing an archive of images: reading it, decoding in one process, the whole preparation.

    Yields:
        For each rate, a record with `images_per_second` and `peak_memory_mib`.
    """
    archive, image_size = request.input, request.image_size
    path = checked_input(archive, "input")
    read = archives.read_folder if path.is_dir() else archives.read_tar

    def read_all():
        sizes = [len(encoded) for _, encoded in read(path, Problems("fail"))]
        return len(sizes), sum(sizes)

    yield timed("read: image files of the archive", read_all)
    sample = list(itertools.islice(read(path, Problems("fail")), _DECODED_ALONE))
    geometry = pixels.Geometry(image_size, halve=image_size * 2 == 64)

    def decode_sample():
        return len(pixels.convert_many(sample, geometry)), None

    yield timed("decode: one process", decode_sample)
    with tempfile.TemporaryDirectory() as output:
        wanted = imagenet.ImageNetRequest(archive, output, "train", image_size=image_size, variant="benchmark")
        summary = imagenet.prepare(wanted)
    rates = {key: summary[key] for key in ("images", "seconds", "images_per_second", "peak_memory_mib")}
    yield {"measure": "prepare: whole, all cores", **rates}
