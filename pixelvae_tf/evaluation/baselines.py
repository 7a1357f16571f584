"""Baseline likelihoods without a network, which a model should beat."""

from __future__ import annotations

import math

import numpy as np

from pixelvae_tf.data import DatasetInfo


def uniform_nats(info: DatasetInfo) -> float:
    """Returns the nats per image if every value of every pixel is equally likely."""
    return math.prod(info.image_shape) * math.log(info.pixel_levels)


class IndependentMarginals:
    """Independent pixels and colors, each with the frequencies of its values in the training images.

    Each value starts with a count of 1 (Laplace smoothing), so an unseen value has a positive probability.

    Args:
        info: the dataset.
    """

    def __init__(self, info: DatasetInfo):
        self.counts = np.ones((math.prod(info.image_shape), info.pixel_levels), "int64")

    def fit(self, batches) -> IndependentMarginals:
        """Counts the values in batches of integer images (batch, height, width, colors); returns itself."""
        pixels, levels = self.counts.shape
        for images in batches:
            rows = np.asarray(images).reshape(-1, pixels).astype("int64") + np.arange(pixels) * levels
            self.counts += np.bincount(rows.ravel(), minlength=self.counts.size).reshape(self.counts.shape)
        return self

    def negative_log_likelihood(self, images) -> np.ndarray:
        """Returns the nats of each image, (batch,), for integer images (batch, height, width, colors)."""
        log_p = np.log(self.counts / self.counts.sum(axis=1, keepdims=True))
        flat = np.asarray(images).reshape(len(images), -1)
        return -log_p[np.arange(flat.shape[1]), flat].sum(axis=1)
