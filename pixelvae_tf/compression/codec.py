"""Images to bits and back, in as many bits as the model's bound says."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np

from pixelvae_tf.compression import quantization
from pixelvae_tf.compression.ans import CorruptError, Stack
from pixelvae_tf.compression.latents import LatentCoder
from pixelvae_tf.compression.walk import PixelWalk


class Chain(NamedTuple):
    """The code of some images.

    Attributes:
        words: (words,) uint32.
        initial_bits: random bits in them, which the first latents were popped from.
        probabilities: CRC-32 of all that the model said of the pixels of the last group.
    """

    words: np.ndarray
    initial_bits: int
    probabilities: int


class Codec:
    """Codes chains of images, in groups whose images lie side by side in the networks.

    Args:
        model: a `PixelVAE`.
        batch_size: images of the largest group, and rows of every pass of the networks. It is part of the code: what a
            row of a product gives can depend on how many rows stand beside it.
    """

    def __init__(self, model, batch_size: int):
        self.shape = model.config.image_shape
        self.batch_size = batch_size
        self.pixels = PixelWalk(model, batch_size)
        self.latents = LatentCoder(model, batch_size) if model.config.num_levels else None

    @property
    def bits_an_image(self) -> int:
        """Bits that have to be there for an image of a group before the group can be coded."""
        return self.latents.bits_an_image if self.latents else 0

    def encode(self, images: np.ndarray, groups: list[int], on_group=None) -> Chain:
        """The code of a chain of (images, height, width, colors) uint8, with these numbers of images in its groups.

        Args:
            images: of values that the model knows.
            groups: see `group_sizes`.
            on_group: called with the number of images after each group.
        """
        stack, start, probabilities = Stack(), 0, 0
        for count in groups:
            probabilities = self._push_group(stack, images[start : start + count])
            start += count
            if on_group:
                on_group(count)
        return Chain(stack.words(), stack.initial_bits, probabilities)

    def decode(self, words: np.ndarray, groups: list[int], probabilities: int | None, on_group=None) -> np.ndarray:
        """The images of `encode`, given the same groups.

        Args:
            words, groups: of the encoder.
            probabilities: of the encoder, or None for no check.
            on_group: called with the number of images after each group.

        Raises:
            CorruptError: where this machine computes other probabilities than the encoder, as far as that shows. What
                does not show makes the images wrong.
        """
        stack, images = Stack(words), []
        for count in reversed(groups):
            decoded, found = self._pop_group(stack, count)
            if not images and probabilities not in (None, found):
                raise CorruptError("other probabilities than the encoder's")
            images.append(decoded)
            if on_group:
                on_group(count)
        return np.concatenate(images[::-1])

    def _push_group(self, stack: Stack, images: np.ndarray) -> int:
        """Pushes some images; returns the checksum of what the model said of their pixels."""
        count, padded = len(images), self._padded(images)
        z1 = drawn = None
        if self.latents:
            stack.ensure(count * self.bits_an_image)
            drawn = self.latents.draw(stack, padded, count)
            z1 = drawn.z1
        values = padded.reshape(self.batch_size, -1).T  # in the order of the walk: (positions, batch)
        lefts, rights, done, checksum = [], [], 0, 0

        def visit(probabilities):
            nonlocal done, checksum
            checksum = zlib.crc32(probabilities, checksum)
            known = values[done : done + len(probabilities), :, None].astype("int32")
            done += len(probabilities)
            cumulative = quantization.cumulative(probabilities[:, :count])
            for ends, shift in ((lefts, 0), (rights, 1)):
                ends.append(np.take_along_axis(cumulative, known[:, :count] + shift, axis=-1).ravel())
            return known

        self.pixels(z1, visit)
        stack.push_intervals(np.concatenate(lefts), np.concatenate(rights))
        if self.latents:
            self.latents.store(stack, drawn, count)
        return checksum

    def _pop_group(self, stack: Stack, count: int) -> tuple[np.ndarray, int]:
        drawn = self.latents.restore(stack, count) if self.latents else None
        values = np.zeros((np.prod(self.shape), self.batch_size), "uint8")
        done = checksum = 0

        def visit(probabilities):
            nonlocal done, checksum
            checksum = zlib.crc32(probabilities, checksum)
            positions, levels = len(probabilities), probabilities.shape[-1]
            cumulative = quantization.cumulative(probabilities[:, :count]).reshape(-1, levels + 1)
            known = np.zeros((positions, self.batch_size, 1), "int32")
            known[:, :count, 0] = stack.pop_symbols(cumulative).reshape(positions, count)
            values[done : done + positions] = known[..., 0]
            done += positions
            return known

        self.pixels(drawn.z1 if drawn else None, visit)
        images = np.ascontiguousarray(values.T).reshape(self.batch_size, *self.shape)
        if self.latents:
            self.latents.give_back(stack, images, drawn, count)
        return images[:count], checksum

    def _padded(self, images: np.ndarray) -> np.ndarray:
        """As many rows as the networks take, black where there is no image."""
        padded = np.zeros((self.batch_size, *self.shape), "uint8")
        padded[: len(images)] = images
        return padded


def group_sizes(images: int, batch_size: int, growth: float | None) -> list[int]:
    """How many images a chain's groups have.

    All latents of a group are popped before its first pixel is pushed. The first group is one image, so that few
    random bits have to be there; the next ones are as large as the bits of those before them allow.

    Args:
        images: of the chain.
        batch_size: images of a group at most.
        growth: what the bits of one stored image suffice for, in images of the next group; None without latents.
    """
    sizes, stored = [], 0
    while stored < images:
        allowed = batch_size if growth is None else 1 + int(growth * stored)
        sizes.append(min(batch_size, allowed, images - stored))
        stored += sizes[-1]
    return sizes
