"""Codes latents with bits back (Townsend et al. 2019, "BB-ANS").

To store z takes -log2 p(z) bits, but -log2 q(z | x) of them come back. The encoder does not choose z: it pops z from
the bits on the stack with the posterior's probabilities. The decoder, once it has x, pushes these bits back. On average
an image takes as many bits as the bound.

Latents are discretized by the quantiles of their prior, so that all values are equally likely, at each position given
the level above and the positions before it. So z is a draw from the prior with discrete noise. The topmost level of a
model with a flow is coded differently, see `flow_prior`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pixelvae_tf.compression import quantization
from pixelvae_tf.compression.ans import FREQUENCY_BITS, Stack
from pixelvae_tf.compression.flow_prior import FlowCoder
from pixelvae_tf.compression.walk import LatentWalk, label_signature, optional
from pixelvae_tf.model.settings import own_settings


class Drawn(NamedTuple):
    """The latents of some images, by level, z1 first.

    Attributes:
        z1: (batch, ...) float32, the input of the pixel decoder.
        buckets: (positions, batch, channels) integers, see `quantization.centers`.
        priors: (positions, batch, 2 * channels), means and scales side by side.
        cells: cells of the topmost level if its prior is a flow, which has no buckets; see `FlowCoder`.
    """

    z1: np.ndarray
    buckets: list[np.ndarray]
    priors: list[np.ndarray]
    cells: np.ndarray | None


class LatentCoder:
    """Stores the latents of up to `batch_size` images on a stack, with bits back.

    Args:
        model: a `PixelVAE` with latents.
        batch_size: rows of every pass of the networks, images or not.

    Methods take `label`, the classes of a batch, (batch,) int32, or None for a model without classes.
    """

    def __init__(self, model, batch_size: int):
        config = model.config
        self.batch_size = batch_size
        self.topmost = None
        if model.prior_flow is not None:
            self.topmost = FlowCoder(model.prior_flow, config.latent_channels[-1], batch_size, config.num_classes)
        self.all_shapes = config.latent_shapes
        # The shapes of the levels that have buckets.
        self.shapes = self.all_shapes[:-1] if self.topmost else self.all_shapes
        self.walks = [LatentWalk(model, level, batch_size) for level in range(config.num_levels - 1)]
        images = tf.TensorSpec((batch_size, *config.image_shape), tf.uint8)
        labels = label_signature(batch_size, config.num_classes)

        def posteriors(images, label: tuple):
            with own_settings():
                return [tf.concat(posterior, axis=-1) for posterior in model.q_z_given_x(images, *label)]

        self._posteriors = tf.function(posteriors, input_signature=(images, labels), autograph=False)

    @property
    def bits_an_image(self) -> int:
        """The most bits that are popped for an image before its pixels are pushed."""
        of_buckets = FREQUENCY_BITS * sum(int(np.prod(shape)) for shape in self.shapes)
        return of_buckets + (self.topmost.bits_an_image if self.topmost else 0)

    def draw(self, stack: Stack, images: np.ndarray, label: np.ndarray | None, count: int) -> Drawn:
        """Pops the latents of the first `count` images of a batch of uint8 images: the encoder's first step."""

        def choose(posterior, prior, _):
            buckets = self._nothing(posterior)
            for at, mean, scale in self._each(posterior, prior, count):
                buckets[at] = quantization.pop_bucket(stack, mean, scale)
            return buckets

        posteriors = self._of_images(images, label)
        cells = self.topmost.draw(stack, posteriors[-1], count) if self.topmost else None
        drawn = self._walk(choose, posteriors, cells, label)
        stack.note_depth()
        return drawn

    def store(self, stack: Stack, drawn: Drawn, label: np.ndarray | None, count: int) -> None:
        """Pushes the result of `draw` under the prior: the encoder's last step."""
        buckets = [level[:, :count].ravel() for level in drawn.buckets]
        stack.push_uniform(np.concatenate([*buckets, np.zeros(0, "int64")]), quantization.BUCKETS)
        if self.topmost:
            self.topmost.store(stack, drawn.cells, label, count)

    def restore(self, stack: Stack, label: np.ndarray | None, count: int) -> Drawn:
        """Undoes `store`: the decoder's first step."""
        cells = self.topmost.restore(stack, label, count) if self.topmost else None
        sizes = [count * int(np.prod(shape)) for shape in self.shapes]
        stored = np.split(stack.pop_uniform(sum(sizes), quantization.BUCKETS), np.cumsum(sizes))[: len(sizes)]
        stored = [part.reshape(-1, count, shape[-1]) for part, shape in zip(stored, self.shapes, strict=True)]

        def choose(_, prior, level):
            buckets = self._nothing(prior)
            start = position_of[level]
            position_of[level] += len(prior)
            buckets[:, :count] = stored[level][start : start + len(prior)]
            return buckets

        position_of = [0] * len(self.shapes)
        return self._walk(choose, None, cells, label)

    def give_back(self, stack: Stack, images: np.ndarray, label: np.ndarray | None, drawn: Drawn, count: int) -> None:
        """Undoes `draw`, given the images: the decoder's last step."""
        posteriors = self._of_images(images, label)
        # In reverse: the last popped value goes back first.
        for level, (posterior, prior) in enumerate(zip(posteriors, drawn.priors, strict=False)):
            for at, mean, scale in reversed(list(self._each(posterior, prior, count))):
                quantization.push_bucket(stack, int(drawn.buckets[level][at]), mean, scale)
        if self.topmost:
            self.topmost.give_back(stack, posteriors[-1], drawn.cells, count)

    def _of_images(self, images: np.ndarray, label: np.ndarray | None) -> list[np.ndarray]:
        """Computes the posteriors by level, (positions, batch, 2 * channels)."""
        of_levels = (posterior.numpy() for posterior in self._posteriors(images, optional(label)))
        return [level.reshape(len(level), -1, level.shape[-1]).transpose(1, 0, 2) for level in of_levels]

    def _walk(
        self, choose, posteriors: list[np.ndarray] | None, cells: np.ndarray | None, label: np.ndarray | None
    ) -> Drawn:
        """Chooses the latents of all levels from the top down.

        Args:
            choose: returns the buckets at some positions, from the posterior and the prior there, and the level.
            posteriors: the images' posteriors, or None.
            cells: cells of the topmost level, if its prior is a flow.
            label: classes of the images, if the model takes them.
        """
        levels = len(self.shapes)
        buckets, priors = [[] for _ in range(levels)], [[] for _ in range(levels)]
        values = [[] for _ in range(levels)]

        def visitor(level: int):
            def visit(prior):
                start = sum(map(len, priors[level]))
                posterior = None if posteriors is None else posteriors[level][start : start + len(prior)]
                chosen = choose(posterior, prior, level)
                mean, scale = np.split(prior, 2, axis=-1)
                values[level].append(mean + scale * quantization.centers()[chosen])
                buckets[level].append(chosen)
                priors[level].append(prior)
                return values[level][-1]

            return visit

        z = None if cells is None else self.topmost.values(cells)
        for level in reversed(range(levels)):
            if z is None:
                visitor(level)(self._standard_normal(level))
            else:
                self.walks[level](z, label, visitor(level))
            z = np.concatenate(values[level]).transpose(1, 0, 2).reshape(self.batch_size, *self.shapes[level])
        joined = ([np.concatenate(level) for level in parts] for parts in (buckets, priors))
        return Drawn(z, *joined, cells)

    def _standard_normal(self, level: int) -> np.ndarray:
        """Returns the standard normal prior of the topmost level in the format of the walks' priors."""
        *positions, channels = self.shapes[level]
        shape = (int(np.prod(positions)), self.batch_size, channels)
        return np.concatenate([np.zeros(shape, "float32"), np.ones(shape, "float32")], axis=-1)

    def _nothing(self, gaussians: np.ndarray) -> np.ndarray:
        """Returns middle buckets, for rows without an image, in the shape for the given means and scales."""
        return np.full((*gaussians.shape[:2], gaussians.shape[2] // 2), quantization.BUCKETS // 2)

    def _each(self, posterior: np.ndarray, prior: np.ndarray, count: int):
        """Yields position, image and channel of each latent, and its posterior in units of its prior."""
        quantization.check_gaussians(posterior)
        quantization.check_gaussians(prior)
        (mean, scale), (prior_mean, prior_scale) = (
            np.split(part[:, :count].astype("float64"), 2, axis=-1) for part in (posterior, prior)
        )
        means, scales = (mean - prior_mean) / prior_scale, scale / prior_scale
        yield from zip(np.ndindex(means.shape), means.ravel().tolist(), scales.ravel().tolist(), strict=True)
