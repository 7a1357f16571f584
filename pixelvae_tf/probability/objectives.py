"""The bound, its terms and its units: pure functions of per-example numbers in nats.

A KL-weighted training loss is never called a bound: `negative_elbo` always has the full KL weight.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from keras import ops

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf

    Values: TypeAlias = tf.Tensor | np.ndarray


class ElboTerms(NamedTuple):
    """The terms of equation 2 for each example, in nats: tensors in a graph, arrays from the methods of a model.

    Attributes:
        reconstruction: the distortion, -log p(x | z1).
        kl: the rate of each level, z1 first: KL(q(z1 | x) || p(z1 | z2)), ..., KL(q(zL | .) || p(zL)).
        elbo: the evidence lower bound, -(reconstruction + sum of kl).
    """

    reconstruction: Values  # (batch,)
    kl: tuple[Values, ...]  # (batch,) each
    elbo: Values  # (batch,)

    def reported(self) -> list[Values]:
        """Returns what training and validation report: the negative bound, its distortion, and its rates."""
        return [-self.elbo, self.reconstruction, *self.kl]


def elbo_terms(reconstruction, kl) -> ElboTerms:
    """Computes equation 2 from its terms, per example in nats."""
    kl = tuple(kl)
    return ElboTerms(reconstruction, kl, -sum(kl, reconstruction))


def sum_over_dimensions(values):
    """Sums (batch, ...) over all axes except the batch, to (batch,). Values of shape (batch,) stay as they are."""
    return ops.sum(ops.reshape(values, (ops.shape(values)[0], -1)), axis=1)


def kl_weight(step, warmup_steps: int):
    """Returns the warm-up weight of a KL term in the training loss: linear from 0 at step 0 to 1 at `warmup_steps`."""
    if warmup_steps == 0:
        return ops.ones((), "float32")
    return ops.minimum(ops.cast(step, "float32") / warmup_steps, 1.0)


def kl_weights(step, warmup_steps: tuple[int, ...], num_levels: int, final: float = 1.0) -> tuple:
    """Returns the weight of each level's KL term: its own warm-up times the weight of the level below.

    Levels beyond `warmup_steps` share the weight of the last level in it. After all warm-ups every weight is `final`.
    """
    weights, weight = [], ops.full((), final, "float32")
    for level in range(num_levels):
        if level < len(warmup_steps):
            weight = weight * kl_weight(step, warmup_steps[level])
        weights.append(weight)
    return tuple(weights)


def scale_floor(step, floor_steps: int):
    """Returns the lower limit of the scale of p(z1 | z2) in training: linear from 1 at step 0 to 0 at `floor_steps`."""
    if floor_steps == 0:
        return ops.zeros((), "float32")
    return ops.maximum(1.0 - ops.cast(step, "float32") / floor_steps, 0.0)


def with_free_bits(kl: tuple, mean_kl: tuple, free_nats: float) -> tuple:
    """Returns the rates for the training loss: each level counts at least `free_nats` on average over the batch.

    A level with a lower average counts as the constant `free_nats`, so nothing pulls its posterior further toward the
    prior (Kingma et al. 2016, appendix C.8, with one group of latents per level).

    Args:
        kl: the rate of each level, (batch,) each.
        mean_kl: scalar averages of the rates over the whole batch, on all replicas together.
        free_nats: the threshold in nats per image and level.
    """
    # A NaN average does not compare as lower, so it stays visible in the loss.
    return tuple(ops.where(mean < free_nats, free_nats, rate) for rate, mean in zip(kl, mean_kl, strict=True))


def training_loss(terms: ElboTerms, weights):
    """Returns distortion plus weighted rates, per example in nats. It is a bound only if every weight is 1."""
    return sum((weight * kl for weight, kl in zip(weights, terms.kl, strict=True)), terms.reconstruction)


def accumulate_log_weight(log_total, log_weight):
    """Adds one importance weight to a running total, both as logarithms, without overflow.

    Start from -inf. After K samples, `log_total - log(K)` estimates log p(x) (Burda et al. 2016); in
    expectation it is a bound that equals the ELBO for K = 1 and rises with K.
    """
    return ops.logaddexp(log_total, log_weight)


def bits_per_dim(nats, num_dimensions: int):
    """Converts nats per image to bits per dimension. All conversions of the project call this function."""
    return nats / (num_dimensions * math.log(2.0))
