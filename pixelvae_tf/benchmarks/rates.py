"""Measures rates of work on images: images per second, and peak memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from pixelvae_tf.data.preparation.memory import PeakMemory


def timed(name: str, work: Callable[[], tuple[int, int | None]]) -> dict[str, Any]:
    """Times `work`, which returns the number of its images, and their bytes or None. Returns a record."""
    with PeakMemory() as memory:
        started = time.monotonic()
        images, size = work()
        seconds = time.monotonic() - started
    row = {"measure": name, "images": images, "seconds": round(seconds, 3)}
    row |= {"images_per_second": round(images / seconds), "peak_memory_mib": memory.mib}
    return row if size is None else {**row, "megabytes_per_second": round(size / seconds / 1e6)}


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the rates as a table of text."""
    lines = [f"{'':42}{'images':>9}{'seconds':>9}{'images/s':>10}{'peak MiB':>10}"]
    for row in rows:
        lines.append(
            f"{row['measure']:42}{row['images']:>9}{row['seconds']:>9.2f}{row['images_per_second']:>10}"
            f"{row['peak_memory_mib']:>10}"
        )
    return "\n".join(lines)
