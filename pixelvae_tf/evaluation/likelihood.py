"""Likelihoods of images: the bound with the full KL weight, and the importance estimate."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from typing import Any

import numpy as np

from pixelvae_tf.config import ModelConfig
from pixelvae_tf.evaluation import bayes, scores
from pixelvae_tf.evaluation.bayes import ClassScores
from pixelvae_tf.model.pixelvae import PixelVAE
from pixelvae_tf.probability import objectives


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The scores of all images in order: arrays of (images,) float64, in nats.

    Attributes:
        config: the configuration of the model.
        bound: negative ELBO, which is at least -log p(x).
        reconstruction: the term -log p(x | z1) of the bound.
        kl: the KL terms of the bound, one array for each level of latents, z1 first.
        importance: the importance-sampled estimate of -log p(x), or None.
        importance_samples: number of latent samples per image for `importance`.
        seconds: duration of the evaluation.
        by_class: scores of the images with every class, or None.
    """

    config: ModelConfig
    bound: np.ndarray
    reconstruction: np.ndarray
    kl: tuple[np.ndarray, ...]
    importance: np.ndarray | None
    importance_samples: int
    seconds: float
    by_class: ClassScores | None = None

    def per_example(self) -> dict[str, np.ndarray]:
        """Returns the columns of `scores`, (images,) each."""
        columns = {scores.BOUND: self.bound}
        if self.importance is not None:
            columns[scores.IMPORTANCE] = self.importance
        return {**columns, scores.BITS: objectives.bits_per_dim(self.bound, self.config.num_dimensions)}

    def summary(self) -> dict[str, Any]:
        """Returns means over images in nats with standard errors: the measured fields of an evaluation's record."""
        dimensions = self.config.num_dimensions
        mean = float(self.bound.mean())
        summary = {"num_examples": len(self.bound), "nll_bound_nats": mean, "nll_bound_stderr": _stderr(self.bound)}
        if self.importance is not None:
            estimate = float(self.importance.mean())
            summary |= {
                "nll_importance_nats": estimate,
                "nll_importance_stderr": _stderr(self.importance),
                "importance_samples": self.importance_samples,
                "importance_bits_per_dim": objectives.bits_per_dim(estimate, dimensions),
            }
        summary |= {} if self.by_class is None else self.by_class.summary()
        return summary | {
            "bits_per_dim": objectives.bits_per_dim(mean, dimensions),
            "reconstruction_nats": float(self.reconstruction.mean()),
            "kl_nats": [float(level.mean()) for level in self.kl],
            "seconds": round(self.seconds, 3),
        }


def evaluate(
    model: PixelVAE,
    batches,
    *,
    importance_samples: int = 0,
    seed: int = 0,
    on_batch=None,
    log_prior: np.ndarray | None = None,
) -> Evaluation:
    """Scores every image of `batches` once.

    The seed, the number of the batch and the position in the batch determine the latent noise of an image. So the same
    batches give the same scores. Another batch size gives other noise, and scores that differ by that noise. A model
    without latents has no noise, and its scores are exact.

    Args:
        model: the model with the weights to evaluate.
        batches: an iterable of integer images (batch, height, width, colors), of any batch sizes. For a model of
            classes, an iterable of pairs of images and labels (batch,).
        importance_samples: latent samples per image for the importance estimate; 0 for no estimate.
        seed: seed of the latent noise.
        on_batch: called with the number of images after each batch.
        log_prior: log p(y) of the classes, (classes,), to also score every image with every class; None for no such
            scores.
    """
    started = time.perf_counter()
    bounds, estimates, with_classes = [], [], []
    for index, batch in enumerate(batches):
        images, label = batch if isinstance(batch, tuple) else (batch, None)
        images, batch_seed = np.asarray(images), _batch_seed(seed, index)
        bounds.append(model.elbo(images, batch_seed, label))
        if importance_samples:
            estimates.append(model.log_likelihood(images, importance_samples, batch_seed, label))
        if log_prior is not None:
            scored = bayes.log_joint(model, images, log_prior, importance_samples, batch_seed)
            with_classes.append((np.asarray(label), scored))
        if on_batch:
            on_batch(len(images))
    return Evaluation(
        model.config,
        bound=-_joined(terms.elbo for terms in bounds),
        reconstruction=_joined(terms.reconstruction for terms in bounds),
        kl=tuple(_joined(level) for level in zip(*(terms.kl for terms in bounds), strict=True)),
        importance=-_joined(estimates) if importance_samples else None,
        importance_samples=importance_samples,
        seconds=time.perf_counter() - started,
        by_class=bayes.joined(with_classes) if with_classes else None,
    )


def _joined(batches) -> np.ndarray:
    return np.concatenate(list(batches)).astype("float64")


def _stderr(values: np.ndarray) -> float:
    """Returns the standard error of a mean over images; 0 for a single image, which has no spread."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def _batch_seed(seed: int, index: int) -> int:
    """Derives a different seed for every batch, the same on every machine."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{index}".encode()).digest()[:4], "big") >> 1
