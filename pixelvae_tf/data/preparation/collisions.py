"""Finds near-duplicates, whose binary codes differ in at most a few bits, without comparing all pairs of images.

Two codes that differ in at most t bits are equal in at least one of t+1 bands of bits. Sorting by each band brings
such candidates together, so the work grows with their number and not with the square of the number of images.
"""

from __future__ import annotations

import dataclasses

import numpy as np

MAX_TOLERANCE = 15  # 16 bands of 8 bits; with narrower bands almost all pairs are candidates
_BITS_SET = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


@dataclasses.dataclass(frozen=True)
class Collision:
    """An image to remove, the kept image with an equal or similar code, and the number of bits that differ."""

    removed: int
    kept: int
    distance: int


def find_collisions(codes: np.ndarray, tolerance: int) -> list[Collision]:
    """Returns the images to remove, in order, so that no two of the rest have codes within `tolerance` bits.

    Of images that collide the first is kept.

    Args:
        codes: packed bits, (images, bits / 8) uint8.
        tolerance: the most bits in which two codes that collide may differ; 0 for equal codes only.
    """
    unique, first, inverse = np.unique(codes, axis=0, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    neighbors: dict[int, list[tuple[int, int]]] = {}
    for one, other, distance in zip(*_near_pairs(unique, tolerance), strict=True):
        earlier, later = sorted((int(one), int(other)), key=lambda code: first[code])
        neighbors.setdefault(later, []).append((int(distance), earlier))
    # Whether a code is kept depends only on earlier kept codes: a removed image does not remove others.
    keeper = {}
    for code in np.argsort(first):
        near = [
            (distance, first[other], other)
            for distance, other in neighbors.get(int(code), ())
            if keeper[other][0] == other
        ]
        distance, _, kept = min(near, default=(0, 0, int(code)))
        keeper[int(code)] = (kept, distance)
    found = []
    for image, code in enumerate(inverse):
        kept, distance = keeper[int(code)]
        if first[kept] != image:
            found.append(Collision(image, int(first[kept]), distance))
    return found


def _near_pairs(codes: np.ndarray, tolerance: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the pairs of distinct codes within `tolerance` bits: two arrays of row numbers, and the distances."""
    found = [np.empty((0, 3), np.int64)]
    bits = codes.shape[1] * 8
    if tolerance and len(codes) > 1:
        edges = np.linspace(0, bits, tolerance + 2).round().astype(int)
        for begin, end in zip(edges[:-1], edges[1:], strict=True):
            found += _near_pairs_in_band(codes, begin, end, tolerance)
    pairs = np.unique(np.concatenate(found), axis=0)
    return pairs[:, 0], pairs[:, 1], pairs[:, 2]


def _near_pairs_in_band(codes: np.ndarray, begin: int, end: int, tolerance: int) -> list[np.ndarray]:
    values = _band(codes, begin, end)
    order = np.argsort(values, kind="stable")
    values = values[order]
    found = []
    active = np.arange(len(codes) - 1)
    offset = 1
    while len(active):
        # In sorted order, a code whose band equals that of the code `offset` places after it equals all between.
        active = active[active + offset < len(codes)]
        active = active[values[active] == values[active + offset]]
        one, other = order[active], order[active + offset]
        distances = _BITS_SET[codes[one] ^ codes[other]].sum(axis=1, dtype=np.int64)
        near = distances <= tolerance
        low, high = np.minimum(one, other)[near], np.maximum(one, other)[near]
        found.append(np.stack([low, high, distances[near]], axis=1))
        offset += 1
    return found


def _band(codes: np.ndarray, begin: int, end: int) -> np.ndarray:
    """Packs bits begin..end-1 of every code into one comparable value."""
    bits = np.unpackbits(codes[:, begin // 8 : -(-end // 8)], axis=1)[:, begin % 8 : begin % 8 + end - begin]
    packed = np.packbits(bits, axis=1)
    padded = np.zeros((len(packed), 8), np.uint8)
    padded[:, : packed.shape[1]] = packed  # at most 64 of 128 bits: there are two bands or more
    return padded.view(np.uint64).reshape(-1)
