"""The bound, its parts and its units: pure functions of per-example numbers in nats.

A KL-weighted training loss is never called a bound: `negative_elbo` always has the full KL weight.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from keras import ops


class ElboTerms(NamedTuple):
    """The parts of equation 2 for each example, in nats; every entry has shape (batch,).

    Attributes:
        reconstruction: the distortion, -log p(x | z1).
        kl: the rate of each level, z1 first: KL(q(z1 | x) || p(z1 | z2)), ..., KL(q(zL | .) || p(zL)).
        elbo: the evidence lower bound, -(reconstruction + sum of kl).
    """

    reconstruction: object
    kl: tuple
    elbo: object


def elbo_terms(reconstruction, kl) -> ElboTerms:
    """Equation 2 from its parts, per example in nats."""
    kl = tuple(kl)
    return ElboTerms(reconstruction, kl, -sum(kl, reconstruction))


def sum_over_dimensions(values):
    """Sums (batch, ...) over everything but the batch."""
    return ops.sum(ops.reshape(values, (ops.shape(values)[0], -1)), axis=1)


def kl_weight(step, warmup_steps: int):
    """Weight of the KL terms in the training loss: linear from 0 at step 0 to 1 at `warmup_steps`."""
    if warmup_steps == 0:
        return ops.ones((), "float32")
    return ops.minimum(ops.cast(step, "float32") / warmup_steps, 1.0)


def training_loss(terms: ElboTerms, weight):
    """Distortion plus weighted rate, per example in nats; a bound only when the weight is 1."""
    return terms.reconstruction + weight * sum(terms.kl, 0.0)


def accumulate_log_weight(log_total, log_weight):
    """Adds one importance weight to a running total, both as logarithms, without overflow.

    Start from -inf. After K samples, `log_total - log(K)` estimates log p(x) (Burda et al. 2016); in
    expectation it is a bound that equals the ELBO for K = 1 and rises with K.
    """
    return ops.logaddexp(log_total, log_weight)


def bits_per_dim(nats, num_dimensions: int):
    """Nats an image to bits a dimension, the one conversion of the project."""
    return nats / (num_dimensions * math.log(2.0))
