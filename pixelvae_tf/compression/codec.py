"""Encodes images to bits and decodes them, in about as many bits as the model's bound."""

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
        words: the bits, (words,) uint32.
        initial_bits: number of random bits in them, from which the first latents were popped.
        probabilities: CRC-32 of the model's probabilities for all pixels of the last group.
    """

    words: np.ndarray
    initial_bits: int
    probabilities: int


class Codec:
    """Codes chains of images in groups. The images of a group are one batch of the networks.

    Args:
        model: a `PixelVAE`.
        batch_size: images in the largest group, and rows of every pass of the networks. It is part of the code,
            because a row of a matrix product can depend on the number of rows.
    """

    def __init__(self, model, batch_size: int):
        self.shape = model.config.image_shape
        self.batch_size = batch_size
        self.pixels = PixelWalk(model, batch_size)
        self.latents = LatentCoder(model, batch_size) if model.config.num_levels else None
        self.num_classes = model.config.num_classes

    @property
    def bits_an_image(self) -> int:
        """The number of bits per image that must be on the stack before a group can be coded."""
        return self.latents.bits_an_image if self.latents else 0

    def encode(self, images: np.ndarray, label: np.ndarray | None, groups: list[int], on_group=None) -> Chain:
        """Encodes a chain of images.

        Args:
            images: (images, height, width, colors) uint8, 0..levels-1.
            label: the class with which to encode each image, (images,) int32, if the model has classes.
            groups: number of images in each group; see `group_sizes`.
            on_group: called with the number of images after each group.
        """
        stack, start, probabilities = Stack(), 0, 0
        for count in groups:
            part = slice(start, start + count)
            probabilities = self._push_group(stack, images[part], None if label is None else label[part])
            start += count
            if on_group:
                on_group(count)
        return Chain(stack.words(), stack.initial_bits, probabilities)

    def decode(self, words: np.ndarray, groups: list[int], probabilities: int | None, on_group=None) -> np.ndarray:
        """Decodes the images of `encode`, given the same groups.

        Args:
            words, groups: from the encoder.
            probabilities: from the encoder, or None for no check.
            on_group: called with the number of images after each group.

        Raises:
            CorruptError: if this machine visibly computes other probabilities than the encoder. A difference that does
                not show gives wrong images.
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

    def _push_group(self, stack: Stack, images: np.ndarray, label: np.ndarray | None) -> int:
        """Pushes a group of images. Returns the checksum of the model's probabilities for their pixels."""
        count, padded = len(images), self._padded(images)
        classes = None if label is None else self._padded(label)
        z1 = drawn = None
        if self.latents:
            stack.ensure(count * self.bits_an_image)
            drawn = self.latents.draw(stack, padded, classes, count)
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

        self.pixels(z1, classes, visit)
        stack.push_intervals(np.concatenate(lefts), np.concatenate(rights))
        if self.latents:
            self.latents.store(stack, drawn, classes, count)
        if label is not None:
            cumulative = self._cumulative_of_classes()
            stack.push_intervals(cumulative[label], cumulative[label + 1])
        return checksum

    def _pop_group(self, stack: Stack, count: int) -> tuple[np.ndarray, int]:
        classes = None
        if self.num_classes:
            cumulative = np.broadcast_to(self._cumulative_of_classes(), (count, self.num_classes + 1))
            classes = self._padded(stack.pop_symbols(cumulative))
        drawn = self.latents.restore(stack, classes, count) if self.latents else None
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

        self.pixels(drawn.z1 if drawn else None, classes, visit)
        images = np.ascontiguousarray(values.T).reshape(self.batch_size, *self.shape)
        if self.latents:
            self.latents.give_back(stack, images, classes, drawn, count)
        return images[:count], checksum

    def _cumulative_of_classes(self) -> np.ndarray:
        """Returns the intervals of the classes, which are equally likely, (classes + 1,)."""
        return quantization.cumulative(np.full((1, self.num_classes), 1.0 / self.num_classes, "float32"))[0]

    def _padded(self, rows: np.ndarray) -> np.ndarray:
        """Pads images with black rows, and labels with class 0, to the batch size."""
        padded = np.zeros((self.batch_size, *rows.shape[1:]), rows.dtype)
        padded[: len(rows)] = rows
        return padded


def group_sizes(images: int, batch_size: int, growth: float | None) -> list[int]:
    """Returns the number of images in each group of a chain.

    All latents of a group are popped before its first pixel is pushed. The first group is one image, so it needs few
    random bits. The next groups are as large as the bits of those before them allow.

    Args:
        images: number of images in the chain.
        batch_size: largest size of a group.
        growth: number of images of the next group for which the bits of one stored image suffice; None without latents.
    """
    sizes, stored = [], 0
    while stored < images:
        allowed = batch_size if growth is None else 1 + int(growth * stored)
        sizes.append(min(batch_size, allowed, images - stored))
        stored += sizes[-1]
    return sizes
