"""From encoded images to squares, on all cores."""

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
    """Decodes and resizes named image files in worker processes; those that cannot be used are problems by name.

    Args:
        records: names and bytes, read as they are needed.
        geometry: what becomes of them.
        place: the archive or folder, for messages.
        problems: where unusable images are reported.
    """
    for name, result in workers.map_in_order(functools.partial(pixels.convert_many, geometry=geometry), records):
        if isinstance(result, str):
            problems.report(f"{shown(str(place))}: {shown(name)}", result)
        else:
            yield name, result
