"""Decodes and resizes images on all cores."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator

import numpy as np

from pixelvae_tf.data import pixels
from pixelvae_tf.data.listing import shown
from pixelvae_tf.data.preparation import workers
from pixelvae_tf.data.preparation.problems import Problems


def converted(
    records: Iterable[tuple[str, bytes]], geometry: pixels.Geometry, place: object, problems: Problems
) -> Iterator[tuple[str, np.ndarray]]:
    """Decodes and resizes image files in worker processes. Yields names and pixels.

    Args:
        records: names and bytes of the files, read on demand.
        geometry: how to turn an image into a square.
        place: the archive or folder, for messages.
        problems: receives unusable images.
    """
    for name, result in workers.map_in_order(functools.partial(pixels.convert_many, geometry=geometry), records):
        if isinstance(result, str):
            problems.report(f"{shown(str(place))}: {shown(name)}", result)
        else:
            yield name, result
