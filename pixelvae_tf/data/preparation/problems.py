"""What a preparation does with an image that it cannot use: end by name, or skip and count."""

from __future__ import annotations

import collections
from collections.abc import Mapping

from pixelvae_tf.data.schema import DataError

_NAMES_KEPT = 100


class Problems:
    """Collects what went wrong.

    Attributes:
        count: images and archives that were skipped.
        names: the first of them, each with the reason.
        passed_over: how many entries were no images, or hidden, by the reason.
    """

    def __init__(self, on_error: str):
        """Args: on_error: "fail" to end at the first problem, "skip" to leave the image out and go on."""
        self._fail = on_error == "fail"
        self.count = 0
        self.names: list[str] = []
        self.passed_over: collections.Counter[str] = collections.Counter()

    def report(self, name: str, reason: str) -> None:
        """Notes a problem. Raises DataError, which names it, under "fail"."""
        if self._fail:
            raise DataError(f"{name}: {reason}; restore or remove it, or leave it out with --on_error=skip")
        self.count += 1
        if len(self.names) < _NAMES_KEPT:
            self.names.append(f"{name}: {reason}")

    def pass_over(self, counts: Mapping[str, int]) -> None:
        """Counts what is no problem, but no image either."""
        self.passed_over.update(counts)

    def record(self) -> dict[str, object]:
        """What summaries and metadata keep."""
        return {"skipped": self.count, "skipped_names": self.names, "passed_over": dict(self.passed_over)}
