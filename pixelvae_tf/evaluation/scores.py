"""Scores of single images as a CSV file with a row for each image, to rank images and to detect anomalies.

    image                  path in its folder, or number from 0 in its split
    nll_bound_nats         bound on -log p(image)
    nll_importance_nats    importance-sampled estimate of -log p(image), if it was requested
    bits_per_dim           the bound in bits per dimension

The record of the evaluation is beside it, in a file with the same name plus .json.
"""

from __future__ import annotations

import csv
import itertools
import pathlib
from collections.abc import Iterable, Mapping

import numpy as np

from pixelvae_tf import files
from pixelvae_tf.files import FileError

BOUND, IMPORTANCE, BITS = "nll_bound_nats", "nll_importance_nats", "bits_per_dim"


def summary_file(path: pathlib.Path) -> pathlib.Path:
    """Returns the path of the record of the evaluation."""
    return path.with_name(f"{path.name}.json")


def write(path: pathlib.Path, names: Iterable[str], scores: Mapping[str, np.ndarray]) -> None:
    """Writes the complete file, or nothing.

    Args:
        path: the file to write.
        names: names of the images, in order; names after the last score are ignored.
        scores: columns by name, each (images,).
    """
    count = len(scores[BOUND])
    named = list(itertools.islice(names, count))
    # File names need not be valid Unicode.
    with (
        files.replacing(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", *scores])
        writer.writerows(zip(named, *(column.tolist() for column in scores.values()), strict=True))


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads the columns of scores by name, each (images,) float64.

    Raises:
        FileError: if the file is missing or does not hold scores.
    """
    try:
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = list(csv.DictReader(file, strict=True))
        names = [name for name in (BOUND, IMPORTANCE, BITS) if rows and name in rows[0]]
        scores = {name: np.array([float(row[name]) for row in rows]) for name in names}
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror})") from None
    except (csv.Error, TypeError, ValueError) as error:
        raise FileError(f"{path}: not a file of scores ({error}); write it with evaluate --per_example_csv") from None
    if BOUND not in scores:
        raise FileError(f"{path}: has no column {BOUND}, or no images; write it with evaluate --per_example_csv")
    return scores
