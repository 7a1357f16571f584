"""Measures how well a linear classifier recognizes classes from features: latents, pixels or principal components.

The classifier is logistic regression on standardized features. Validation images choose the strength of its penalty;
only the chosen classifier is measured on test images.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from pixelvae_tf.errors import UserError

# From strong to weak. Each fit starts from the previous one.
INVERSE_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
_MAX_ITERATIONS = 100
# Latents have a scale of about 1 and pixels of at least 1. Features that differ by less share one position.
_ALIKE = 1e-3


class Labelled(NamedTuple):
    """Features of images, (images, dimensions), and their classes, (images,)."""

    features: np.ndarray
    labels: np.ndarray


class Splits(NamedTuple):
    """Images to train on, images that choose the penalty, and images to test on."""

    train: Labelled
    validation: Labelled
    test: Labelled


def balanced_draw(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draws the indices of `count` images to train on, with the same number of each class.

    Raises:
        UserError: if the number of classes does not divide `count`, or a class has too few images.
    """
    classes, there = np.unique(labels, return_counts=True)
    each, rest = divmod(count, len(classes))
    if rest or not 0 < each <= there.min():
        raise UserError(
            f"--labels={count}: give multiples of {len(classes)}, the number of classes, up to "
            f"{len(classes) * there.min()}"
        )
    return np.concatenate([rng.choice(np.flatnonzero(labels == wanted), each, replace=False) for wanted in classes])


def standardized(splits: Splits) -> Splits:
    """Scales every feature to mean 0 and variance 1 over all training images; this needs no labels."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(splits.train.features)
    return Splits(*(split._replace(features=scaler.transform(split.features).astype("float32")) for split in splits))


def probe(splits: Splits) -> dict[str, Any]:
    """Trains classifiers with different penalties and tests the one that is best on validation.

    Returns:
        `test_accuracy`, `validation_accuracy`, the chosen `inverse_penalty` (scikit-learn's C), and whether its fit
        `converged`.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    classifier, best = LogisticRegression(max_iter=_MAX_ITERATIONS, warm_start=True), {"validation_accuracy": -1.0}
    for inverse_penalty in INVERSE_PENALTIES:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            classifier.set_params(C=inverse_penalty).fit(*splits.train)
        accuracy = classifier.score(*splits.validation)
        if accuracy > best["validation_accuracy"]:
            best = {
                "test_accuracy": classifier.score(*splits.test),
                "validation_accuracy": accuracy,
                "inverse_penalty": inverse_penalty,
                "converged": not any(issubclass(warning.category, ConvergenceWarning) for warning in caught),
            }
    return best


def measure(
    splits: Splits, counts: Sequence[int], draws: int, seed: int, on_probe: Callable[[int], Any] | None = None
) -> list[dict[str, Any]]:
    """Probes with few labels, over several draws of them, and with all labels.

    Args:
        splits: features, not yet standardized.
        counts: numbers of labels to train on, in addition to all labels.
        draws: draws for each number of labels. They depend only on the seed, so all features share them.
        seed: seed of the draws.
        on_probe: called with 1 after each probe.

    Returns:
        A row for each number of labels: `num_labels`, and `draws`, a list of results of `probe`.
    """
    splits = standardized(splits)
    labels, rows = splits.train.labels, []
    for count in (*counts, len(labels)):
        if count == len(labels):
            chosen = [np.arange(count)]
        else:
            rngs = (np.random.default_rng([seed, count, draw]) for draw in range(draws))
            chosen = [balanced_draw(labels, count, rng) for rng in rngs]
        rows.append({"num_labels": count, "draws": []})
        for indices in chosen:
            train = Labelled(splits.train.features[indices], labels[indices])
            rows[-1]["draws"].append(probe(splits._replace(train=train)))
            if on_probe:
                on_probe(1)
    return rows


def principal_components(splits: Splits, dimensions: int) -> Splits:
    """Projects features on the directions of highest variance over all training images."""
    from sklearn.decomposition import PCA

    pca = PCA(dimensions, random_state=0).fit(splits.train.features)
    return Splits(*(split._replace(features=pca.transform(split.features)) for split in splits))


def picture(examples: Labelled) -> dict[str, list]:
    """Places images on a plane so that neighbors in feature space stay close together (t-SNE).

    Returns:
        `x`, `y` (to three digits) and `label` of each image, for a record. Nearly equal features share one position.
    """
    from sklearn.manifold import TSNE

    places = np.zeros((len(examples.labels), 2))
    if np.ptp(examples.features, axis=0).max() > _ALIKE:
        places = TSNE(random_state=0).fit_transform(examples.features).round(3).astype("float64")
    return {"x": places[:, 0].tolist(), "y": places[:, 1].tolist(), "label": examples.labels.tolist()}
