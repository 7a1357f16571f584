"""Honest likelihoods of a dataset: the bound with full KL weight, and the importance-sampled estimate."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import numpy as np

from pixelvae_tf import objectives
from pixelvae_tf.model import PixelVAE


def evaluate(model: PixelVAE, batches, *, importance_samples: int = 0, seed: int = 0, on_batch=None) -> dict[str, Any]:
    """Scores every image of `batches` once.

    Args:
        model: with the weights to evaluate.
        batches: an iterable of integer images (batch, height, width, colors), of any batch sizes.
        importance_samples: latent samples an image for the importance-sampled estimate; 0 leaves it out.
        seed: of the latent noise.
        on_batch: called with the number of images after each batch.

    Returns:
        The measured fields of DESIGN's JSON object: means over images in nats, and their standard errors.
    """
    started = time.perf_counter()
    scores: dict[str, list[np.ndarray]] = {}
    for index, images in enumerate(batches):
        images, batch_seed = np.asarray(images), _batch_seed(seed, index)
        terms = model.elbo(images, batch_seed)
        found = {"bound": -terms.elbo, "reconstruction": terms.reconstruction}
        found |= {f"kl_{level}": kl for level, kl in enumerate(terms.kl)}
        if importance_samples:
            found["importance"] = -model.log_likelihood(images, importance_samples, batch_seed)
        for name, values in found.items():
            scores.setdefault(name, []).append(values)
        if on_batch:
            on_batch(len(images))
    columns = {name: np.concatenate(values).astype("float64") for name, values in scores.items()}
    return {**_summary(columns, model, importance_samples), "seconds": round(time.perf_counter() - started, 3)}


def _summary(columns: dict[str, np.ndarray], model: PixelVAE, importance_samples: int) -> dict[str, Any]:
    config = model.config
    bound = columns["bound"]
    summary = {"num_examples": len(bound), "nll_bound_nats": bound.mean(), "nll_bound_stderr": _stderr(bound)}
    if importance_samples:
        estimate = columns["importance"]
        summary |= {
            "nll_importance_nats": estimate.mean(),
            "nll_importance_stderr": _stderr(estimate),
            "importance_samples": importance_samples,
            "importance_bits_per_dim": objectives.bits_per_dim(estimate.mean(), config.num_dimensions),
        }
    summary |= {
        "bits_per_dim": objectives.bits_per_dim(bound.mean(), config.num_dimensions),
        "reconstruction_nats": columns["reconstruction"].mean(),
        "kl_nats": [float(columns[f"kl_{level}"].mean()) for level in range(config.num_levels)],
    }
    return {key: float(value) if isinstance(value, np.floating) else value for key, value in summary.items()}


def _stderr(values: np.ndarray) -> float:
    """Standard error of a mean over images; 0 for a single image, which tells nothing of the spread."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def _batch_seed(seed: int, index: int) -> int:
    """A seed of its own for every batch, the same on every machine."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{index}".encode()).digest()[:4], "big") >> 1
