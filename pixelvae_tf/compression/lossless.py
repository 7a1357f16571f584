"""Lossless compression of images with a trained model."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import hashlib
import json
import math
import pathlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pixelvae_tf.compression import ans, support
from pixelvae_tf.compression.codec import Codec, group_sizes
from pixelvae_tf.compression.container import DIGEST_BYTES, Container
from pixelvae_tf.config import ModelConfig
from pixelvae_tf.files import FileError
from pixelvae_tf.model import checks

# Parts with fewer groups would be slower: the first groups of a part are small, but take as long as large ones.
_GROUPS_A_PART = 32
_GROWTH_UNIT = 64


@dataclasses.dataclass(frozen=True)
class Compressed:
    """Compressed images and their sizes.

    Attributes:
        data: the bytes of the file.
        record: sizes in bits and bytes, and the time, as JSON values. `ideal_bits_per_dim` is the model's bound, with
            the noise of seed 0, and exact for a model without latents; with classes, that of the best class of each
            image, with the bits of its label. `bits_per_dim` counts the whole file.
    """

    data: bytes
    record: dict[str, Any]


class Compressor:
    """Compresses images with a model so that they come back bit for bit, by the same model on the same kind of machine.

    Args:
        model: a `PixelVAE`.

    Raises:
        UserError: without the package constriction.
    """

    def __init__(self, model):
        support.library()
        self.model = model
        # The graphs of a batch size take long to trace and compile.
        self._codec = functools.cache(functools.partial(Codec, model))

    def compress(
        self,
        images: np.ndarray,
        *,
        batch_size: int = 128,
        names: Sequence[str] = (),
        parts: int = 1,
        on_group: Callable[[int], Any] | None = None,
    ) -> Compressed:
        """Compresses images so that `decompress`, with the same model, gives the same ones.

        Args:
            images: integers 0..levels-1, (images, height, width, colors).
            batch_size: images in a batch of the networks. Larger batches are faster and take more memory.
            names: names of the images to store with them; or none.
            parts: number of parts of the images to code in parallel threads.
            on_group: called with the number of images after each group.

        Raises:
            UserError: for images of a wrong shape, type or range, or no images.
        """
        images = checks.images_outside_graphs(images, self.model.config)
        model = self.model
        started = time.perf_counter()
        batch_size = min(batch_size, len(images))
        parts = max(1, min(parts, len(images) // (_GROUPS_A_PART * batch_size)))
        label, ideal = _best_labels(model, images, batch_size)
        bounded = time.perf_counter()
        codec = self._codec(batch_size)
        growth = _growth(ideal / len(images), codec.bits_an_image)
        chains = np.array_split(images, parts)
        labels = [None] * parts if label is None else np.array_split(label, parts)
        groups = [group_sizes(len(chain), batch_size, growth / _GROWTH_UNIT if growth else None) for chain in chains]
        coded = _side_by_side(codec.encode, list(zip(chains, labels, groups, strict=True)), on_group)
        packed, name_bytes, word_bytes = Container(
            model.config.image_shape,
            model.config.pixel_levels,
            len(images),
            batch_size,
            growth,
            model_digest(model),
            _digest(images.tobytes()),
            coded[0].probabilities,
            tuple(names),
            tuple(chain.words for chain in coded),
        ).pack()
        sizes = {
            "num_images": len(images),
            "bytes": len(packed),
            "ideal_bytes": math.ceil(ideal / 8),
            "bits_per_dim": 8 * len(packed) / images.size,
            "ideal_bits_per_dim": ideal / images.size,
            "initial_bits": sum(chain.initial_bits for chain in coded),
            "header_bytes": len(packed) - name_bytes - word_bytes,
            "name_bytes": name_bytes,
        }
        grouping = {"batch_size": batch_size, "groups": sum(map(len, groups)), "parts": parts}
        seconds = {"bound_seconds": bounded - started, "seconds": time.perf_counter() - bounded}
        return Compressed(packed, {**sizes, **grouping, **{name: round(value, 3) for name, value in seconds.items()}})

    def decompress(
        self, stored: Container, path: pathlib.Path, on_group: Callable[[int], Any] | None = None
    ) -> np.ndarray:
        """Restores the images of a compressed file, (images, height, width, colors) uint8.

        Args:
            stored: the content of the file, from `container.unpack`.
            path: the file, for messages.
            on_group: called with the number of images after each group.

        Raises:
            FileError: for a file of another model, or of a machine with different arithmetic.
        """
        model = self.model
        if stored.model != model_digest(model):
            raise FileError(
                f"{path}: compressed with another model, or other weights of this one; name the model that wrote it"
            )
        if (stored.image_shape, stored.pixel_levels) != (tuple(model.config.image_shape), model.config.pixel_levels):
            raise FileError(f"{path}: its images do not have the shape of the model's; compress them again")
        codec = self._codec(stored.batch_size)
        growth = stored.growth / _GROWTH_UNIT if codec.latents else None
        lengths = [len(part) for part in np.array_split(np.empty(stored.num_images, "uint8"), len(stored.parts))]
        groups = [group_sizes(length, stored.batch_size, growth) for length in lengths]
        expected = [stored.probabilities, *[None] * (len(lengths) - 1)]
        other_arithmetic = FileError(
            f"{path}: this machine computes other probabilities than the one that wrote the file (another processor or "
            "version of TensorFlow); decompress it where it was written"
        )
        try:
            chains = list(zip(stored.parts, groups, expected, strict=True))
            images = np.concatenate(_side_by_side(codec.decode, chains, on_group))
        except ans.CorruptError:
            raise other_arithmetic from None
        if _digest(images.tobytes()) != stored.images:
            raise other_arithmetic
        return images


class _Stopped(Exception):
    """Another chain failed, or the user interrupted."""


def _side_by_side(work: Callable, chains: list[tuple], on_group: Callable[[int], Any] | None) -> list:
    """Works on each chain in its own thread and returns the results. If one fails, all others end after their group."""
    stop = threading.Event()

    def after_group(count: int) -> None:
        if stop.is_set():
            raise _Stopped
        if on_group:
            on_group(count)

    with concurrent.futures.ThreadPoolExecutor(len(chains)) as pool:
        try:
            return list(pool.map(lambda chain: work(*chain, after_group), chains))
        except BaseException:
            stop.set()
            raise


def model_digest(model) -> bytes:
    """Returns a checksum of a model: weights, precision, and the fields of its configuration that are not defaults."""
    default = {field.name: field.default for field in dataclasses.fields(ModelConfig)}
    config = {
        name: value
        for name, value in model.config.to_dict().items()
        if value != (list(default[name]) if isinstance(default[name], tuple) else default[name])
    }
    described = json.dumps([config, model.dtype_policy.name], sort_keys=True).encode()
    return _digest(described, *(np.asarray(weight).tobytes() for weight in model.weights))


def _digest(*parts: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()[:DIGEST_BYTES]


def _best_labels(model, images: np.ndarray, batch_size: int) -> tuple[np.ndarray | None, float]:
    """Returns the class of each image that takes the fewest bits, and the model's bound for all images, in bits.

    The bound is that with the noise of seed 0. A model without classes has no labels. In one with classes, it includes
    the bits of the labels, which are all equally likely.
    """
    starts, classes = range(0, len(images), batch_size), model.config.num_classes
    bounds = [
        np.stack([model.elbo(images[start : start + batch_size], 0, label).elbo for label in range(classes) or [None]])
        for start in starts
    ]
    found = np.concatenate(bounds, axis=1).astype("float64")
    bits = -found.max(axis=0).sum() / math.log(2.0) + len(images) * math.log2(max(classes, 1))
    return found.argmax(axis=0).astype("int32") if classes else None, float(bits)


def _growth(bits_an_image: float, needed: int) -> int:
    """Returns how fast groups may grow, in units of 1/64: nine tenths of an image's bits over the bits it needs."""
    if not needed:
        return 0
    return min(max(int(0.9 * _GROWTH_UNIT * bits_an_image / needed), 1), 255)
