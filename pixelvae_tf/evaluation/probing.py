"""What a linear classifier reads off features of images: latents, pixels or principal components.

Logistic regression on standardised features. How strongly it is penalised is chosen on validation images; test images
are looked at with the chosen one alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from pixelvae_tf.errors import UserError

# From strong to weak, each fit starting from the one before.
INVERSE_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
_MAX_ITERATIONS = 100
# Latents have a scale of about 1, pixels one of 1 or more: images that differ by less have one place.
_ALIKE = 1e-3


class Labelled(NamedTuple):
    """Features of images, (images, dimensions), and their classes, (images,)."""

    features: np.ndarray
    labels: np.ndarray


class Splits(NamedTuple):
    """What is learned from, what chooses the penalty, and what is measured."""

    train: Labelled
    validation: Labelled
    test: Labelled


def balanced_draw(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Which images to learn from: the indices of `count` of them, equally many of each class.

    Raises:
        UserError: where that does not divide, or a class has too few.
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
    """Every feature with mean 0 and variance 1 over all training images, for which no labels are needed."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(splits.train.features)
    return Splits(*(part._replace(features=scaler.transform(part.features).astype("float32")) for part in splits))


def probe(splits: Splits) -> dict[str, Any]:
    """The accuracy on test of the classifier whose penalty is best on validation.

    Returns:
        `test_accuracy`, `validation_accuracy`, the chosen `inverse_penalty` (scikit-learn's C), and whether its fit
        had `converged`.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    classifier, found = LogisticRegression(max_iter=_MAX_ITERATIONS, warm_start=True), {"validation_accuracy": -1.0}
    for inverse_penalty in INVERSE_PENALTIES:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", ConvergenceWarning)
            classifier.set_params(C=inverse_penalty).fit(*splits.train)
        accuracy = classifier.score(*splits.validation)
        if accuracy > found["validation_accuracy"]:
            found = {
                "test_accuracy": classifier.score(*splits.test),
                "validation_accuracy": accuracy,
                "inverse_penalty": inverse_penalty,
                "converged": not any(issubclass(one.category, ConvergenceWarning) for one in told),
            }
    return found


def measure(
    splits: Splits, counts: Sequence[int], draws: int, seed: int, on_probe: Callable[[int], Any] | None = None
) -> list[dict[str, Any]]:
    """Probes with few labels, over several draws of them, and with all.

    Args:
        splits: features as they are.
        counts: numbers of labels; all there are is added.
        draws: of each number of labels; they follow from the seed alone, and are the same for all features.
        seed: of the draws.
        on_probe: called with 1 after each probe.

    Returns:
        For each number of labels `num_labels` and `draws`, a list of what `probe` found.
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
    """The features' coordinates along the directions of most variance over all training images."""
    from sklearn.decomposition import PCA

    found = PCA(dimensions, random_state=0).fit(splits.train.features)
    return Splits(*(part._replace(features=found.transform(part.features)) for part in splits))


def picture(examples: Labelled) -> dict[str, list]:
    """Places of images on a page, such that neighbours in the space of the features stay neighbours (t-SNE).

    Returns:
        `x`, `y` and the `label` of each, to three digits, for a record; one place for all that are nearly alike.
    """
    from sklearn.manifold import TSNE

    places = np.zeros((len(examples.labels), 2))
    if np.ptp(examples.features, axis=0).max() > _ALIKE:
        places = TSNE(random_state=0).fit_transform(examples.features).round(3).astype("float64")
    return {"x": places[:, 0].tolist(), "y": places[:, 1].tolist(), "label": examples.labels.tolist()}
