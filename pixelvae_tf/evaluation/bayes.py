"""Classifies images by Bayes' rule with a model of classes: p(y | x) is proportional to p(x | y) p(y).

The bound or the importance estimate approximates log p(x | y). A class with a looser bound loses images to others.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pixelvae_tf.data.schema import Classes

BOUND, IMPORTANCE = "bound", "importance"


class ClassScores(NamedTuple):
    """Scores of images with every class.

    Attributes:
        labels: the true classes of the images, (images,).
        log_joint: log p(x | y) + log p(y), (images, classes), in nats, for each estimate: `BOUND` or `IMPORTANCE`.
    """

    labels: np.ndarray
    log_joint: dict[str, np.ndarray]

    def summary(self) -> dict[str, Any]:
        """Returns fields of a record: for each estimate the accuracy of the most likely class, and -log p(x).

        `nll_<estimate>_marginal_nats` is -log of the sum over y of p(x | y) p(y). It compares with the likelihood of a
        model without classes.
        """
        found = {}
        for estimate, log_joint in self.log_joint.items():
            found[f"accuracy_{estimate}"] = float((self.predicted(estimate) == self.labels).mean())
            found[f"nll_{estimate}_marginal_nats"] = float(-np.logaddexp.reduce(log_joint, axis=1).mean())
        return found

    def predicted(self, estimate: str) -> np.ndarray:
        """Returns the most likely class of each image, (images,)."""
        return self.log_joint[estimate].argmax(axis=1)


def log_prior(classes: Classes) -> np.ndarray:
    """Returns log p(y), (classes,), from the frequencies of the classes in training."""
    images = np.array(classes.images, "float64")
    return np.log(images / images.sum())


def log_joint(
    model, images: np.ndarray, prior: np.ndarray, importance_samples: int, seed: int
) -> dict[str, np.ndarray]:
    """Scores a batch with every class, with the same noise for each; see `ClassScores.log_joint`.

    Args:
        model: a `PixelVAE` of classes.
        images: (batch, height, width, colors) integers.
        prior: log p(y), (classes,), nats.
        importance_samples: latent samples per image and class for the importance estimate; 0 for no estimate.
        seed: seed of the noise.
    """
    classes = range(len(prior))
    found = {BOUND: [model.elbo(images, seed, label).elbo for label in classes]}
    if importance_samples:
        found[IMPORTANCE] = [model.log_likelihood(images, importance_samples, seed, label) for label in classes]
    return {name: np.stack(scores, axis=1).astype("float64") + prior for name, scores in found.items()}


def joined(batches: list[tuple[np.ndarray, dict[str, np.ndarray]]]) -> ClassScores:
    """Joins the labels and the `log_joint` of all batches."""
    labels, scores = zip(*batches, strict=True)
    return ClassScores(
        np.concatenate(labels), {name: np.concatenate([each[name] for each in scores]) for name in scores[0]}
    )
