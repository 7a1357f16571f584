"""What preparation does about an unusable image: stop and name it, or skip and count it."""

from __future__ import annotations

import collections
from collections.abc import Mapping

from pixelvae_tf.data.schema import DataError

_NAMES_KEPT = 100


class Problems:
    """Collects problems.

    Attributes:
        count: images and archives that were skipped because of a problem.
        names: the first of them, each with the reason.
        passed_over: the number of entries that are hidden or not images, for each reason.
    """

    def __init__(self, on_error: str):
        """Args: on_error: "fail" to stop at the first problem, "skip" to skip the image and go on."""
        self._fail = on_error == "fail"
        self.count = 0
        self.names: list[str] = []
        self.passed_over: collections.Counter[str] = collections.Counter()

    def report(self, name: str, reason: str) -> None:
        """Records a problem; with "fail" raises a DataError that names it."""
        if self._fail:
            raise DataError(f"{name}: {reason}; restore or remove it, or leave it out with --on_error=skip")
        self.count += 1
        if len(self.names) < _NAMES_KEPT:
            self.names.append(f"{name}: {reason}")

    def pass_over(self, counts: Mapping[str, int]) -> None:
        """Counts entries that are neither images nor problems."""
        self.passed_over.update(counts)

    def record(self) -> dict[str, object]:
        """Returns what summaries and metadata record."""
        return {"skipped": self.count, "skipped_names": self.names, "passed_over": dict(self.passed_over)}
