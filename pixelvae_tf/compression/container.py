"""The file of compressed images.

    magic, version                  the format
    shape, levels, images           shape, levels and number of the images
    batch, growth, parts            how the images were grouped, see `codec.group_sizes`
    model, images, probabilities    checksums
    names                           of the image files, compressed by zlib; empty for images without names
    words                           for each part their number, and the words, 32 bits each
    checksum                        CRC-32 of everything before

Numbers are little-endian. Sizes have 7 bits in each byte; the highest bit says that more bytes follow.
"""

from __future__ import annotations

import binascii
import dataclasses
import os
import pathlib
import zlib

import numpy as np

from pixelvae_tf.files import FileError

SUFFIX = ".pvae"
_MAGIC, _VERSION = b"PVAE", 1
_CHECKSUM_BYTES = 4
# Bytes of the checksums of model and images, enough to exclude accidental collisions.
DIGEST_BYTES = 8
_LONGEST_NAMES = 1 << 28


@dataclasses.dataclass(frozen=True)
class Container:
    """The content of a file.

    Attributes:
        image_shape: height, width and colors.
        pixel_levels: number of values of a pixel.
        num_images: number of images in all parts.
        batch_size: images in a batch of the networks.
        growth: growth of groups with latents, in 1/64 (1 to 255); 0 without latents.
        model, images: checksums of the model and of the images.
        probabilities: checksum of the encoder's probabilities for the group that is decoded first.
        names: names of the images in order, with "/" between folders; empty if they have none.
        parts: the words of each part, (words,) uint32. Each part encodes the same number of consecutive images, or one
            more.
    """

    image_shape: tuple[int, ...]
    pixel_levels: int
    num_images: int
    batch_size: int
    growth: int
    model: bytes
    images: bytes
    probabilities: int
    names: tuple[str, ...]
    parts: tuple[np.ndarray, ...]

    def pack(self) -> tuple[bytes, int, int]:
        """Returns the bytes of the file, and the number of bytes of names and of words."""
        names = zlib.compress(b"\0".join(map(os.fsencode, self.names)), 9) if self.names else b""
        numbers = (*self.image_shape, self.pixel_levels, self.num_images, self.batch_size, self.growth, len(self.parts))
        head = b"".join([_MAGIC, bytes([_VERSION]), *map(_size, numbers), self.model, self.images])
        head += self.probabilities.to_bytes(4, "little") + _size(len(names)) + names
        words = b"".join(_size(len(part)) + part.astype("<u4").tobytes() for part in self.parts)
        body = head + words
        return body + binascii.crc32(body).to_bytes(_CHECKSUM_BYTES, "little"), len(names), len(words)


def read(path: str, flag: str) -> Container:
    """Reads a file of compressed images. Raises FileError if it cannot be read or is something else."""
    if not path:
        raise FileError(f"--{flag} is empty: name a file that python -m pixelvae_tf.compress wrote")
    try:
        data = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise FileError(f"--{flag}={path}: cannot be read ({error.strerror})") from None
    return unpack(data, pathlib.Path(path))


def unpack(data: bytes, path: pathlib.Path) -> Container:
    """Inverts `Container.pack`. Raises FileError for anything else, with `path` in its message."""
    if not data.startswith(_MAGIC):
        raise FileError(f"{path}: not a file of compressed images; python -m pixelvae_tf.compress writes those")
    body, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if len(body) <= len(_MAGIC) or binascii.crc32(body).to_bytes(_CHECKSUM_BYTES, "little") != checksum:
        raise FileError(f"{path}: truncated or altered since it was written (its checksum differs); restore it")
    if body[len(_MAGIC)] != _VERSION:
        raise FileError(
            f"{path}: written in format {body[len(_MAGIC)]}, where this version of the package reads format "
            f"{_VERSION}; decompress it with the version that wrote it"
        )
    try:
        return _parse(body[len(_MAGIC) + 1 :])
    except (ValueError, IndexError, zlib.error):
        raise FileError(f"{path}: its contents do not fit each other; compress the images again") from None


def _parse(rest: bytes) -> Container:
    reader = _Reader(rest)
    height, width, colors, levels, images, batch_size, growth, parts = (reader.size() for _ in range(8))
    model, digest = reader.bytes(DIGEST_BYTES), reader.bytes(DIGEST_BYTES)
    probabilities = int.from_bytes(reader.bytes(4), "little")
    names = reader.bytes(reader.size())
    words = tuple(np.frombuffer(reader.bytes(4 * reader.size()), "<u4").astype("uint32") for _ in range(parts))
    listed = (
        tuple(map(os.fsdecode, zlib.decompressobj().decompress(names, _LONGEST_NAMES).split(b"\0"))) if names else ()
    )
    if reader.left() or not 1 <= parts <= images or batch_size < 1 or (names and len(listed) != images):
        raise ValueError("numbers")
    if any(len(part) and part[-1] == 0 for part in words):
        raise ValueError("words")
    stored = Container(
        (height, width, colors), levels, images, batch_size, growth, model, digest, probabilities, listed, words
    )
    picture_names(stored)
    return stored


def _size(number: int) -> bytes:
    parts = []
    while number >= 128:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def picture_names(stored: Container) -> list[str]:
    """Returns a PNG's path for each image, from its name or its number. Raises ValueError for unsafe names."""
    if not stored.names:
        digits = len(str(stored.num_images - 1))
        return [f"{index:0{digits}}.png" for index in range(stored.num_images)]
    found: dict[str, None] = {}
    for name in stored.names:
        parts = pathlib.PurePath(name).parts
        if not parts or ".." in parts or pathlib.PurePath(name).is_absolute():
            raise ValueError(f"name {name!r}")
        stem = name[: -len(".png")] if name.lower().endswith(".png") else name
        picture = name if stem != name else f"{name}.png"
        while picture in found:
            stem += "_"
            picture = f"{stem}.png"
        found[picture] = None
    return list(found)


class _Reader:
    """Reads values from bytes one after another. Raises ValueError or IndexError if they end too early."""

    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def bytes(self, count: int) -> bytes:
        taken = self.data[self.at : self.at + count]
        if len(taken) != count:
            raise ValueError("too short")
        self.at += count
        return taken

    def size(self) -> int:
        number = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number

    def left(self) -> int:
        return len(self.data) - self.at
