"""Scores of single images as a CSV file: a row an image, for ranking and the detection of foreign images.

    image                  path in its folder, or number from 0 in its split
    nll_bound_nats         bound on -log p(image)
    nll_importance_nats    importance-sampled estimate of -log p(image), where asked for
    bits_per_dim           the bound in bits per dimension

Beside it, under the same name and .json, lies the record of the evaluation that wrote it.
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
    """Where the record of the evaluation lies."""
    return path.with_name(f"{path.name}.json")


def write(path: pathlib.Path, names: Iterable[str], scores: Mapping[str, np.ndarray]) -> None:
    """Writes the file whole, or not at all.

    Args:
        path: of the file.
        names: of the images in their order; those after the last score are left out.
        scores: columns by name, each (images,).
    """
    count = len(scores[BOUND])
    named = list(itertools.islice(names, count))
    # Names of files need not be valid Unicode.
    with (
        files.replacing(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", *scores])
        writer.writerows(zip(named, *(column.tolist() for column in scores.values()), strict=True))


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The columns of scores by name, each (images,) float64.

    Raises:
        FileError: for a missing file, or one that is not of scores.
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
        raise FileError(f"{path}: holds no column {BOUND}, or no images; write it with evaluate --per_example_csv")
    return scores
