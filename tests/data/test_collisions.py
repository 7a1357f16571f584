"""The search for codes that nearly collide, against comparing all pairs."""

import time

import numpy as np
import pytest

from pixelvae_tf.data.preparation.collisions import MAX_TOLERANCE, find_collisions


def distances(codes):
    bits = np.unpackbits(codes, axis=1).astype(int)
    return (bits[:, None] != bits[None]).sum(axis=2)


def by_all_pairs(codes, tolerance):
    """What the rule says, word by word: in order, an image goes if it is near one that stays."""
    apart = distances(codes)
    kept, removed = [], set()
    for image in range(len(codes)):
        if (apart[image, kept] <= tolerance).any():
            removed.add(image)
        else:
            kept.append(image)
    return removed


def planted(count, copies, most_flips, seed=0):
    """Random codes, of which the last `copies` are earlier ones with up to `most_flips` bits turned."""
    random = np.random.default_rng(seed)
    bits = random.integers(0, 2, (count, 128), np.uint8)
    for image in range(count - copies, count):
        bits[image] = bits[random.integers(0, image)]
        bits[image, random.permutation(128)[: random.integers(0, most_flips + 1)]] ^= 1
    return np.packbits(bits[random.permutation(count)], axis=1)


@pytest.mark.parametrize("tolerance", range(MAX_TOLERANCE + 1))
def test_bands_find_what_comparing_all_pairs_finds(tolerance):
    codes = planted(300, 150, 20, seed=tolerance)
    expected = by_all_pairs(codes, tolerance)
    found = find_collisions(codes, tolerance)
    assert [pair.removed for pair in found] == sorted(expected)
    apart = distances(codes)
    for pair in found:
        assert apart[pair.removed, pair.kept] == pair.distance <= tolerance
        assert pair.kept < pair.removed and pair.kept not in expected
    if tolerance:
        assert any(pair.distance == tolerance for pair in found)


def test_no_two_of_the_rest_collide_and_a_kept_image_is_never_removed():
    codes = planted(400, 300, 3)
    found = find_collisions(codes, 3)
    removed = {pair.removed for pair in found}
    assert not removed & {pair.kept for pair in found}
    rest = np.delete(codes, sorted(removed), axis=0)
    assert (distances(rest) + 128 * np.eye(len(rest), dtype=int)).min() > 3


@pytest.mark.parametrize("codes", [np.zeros((0, 16), np.uint8), np.zeros((1, 16), np.uint8)])
def test_none_and_one_image_collide_with_nothing(codes):
    assert find_collisions(codes, 2) == []


def test_a_hundred_thousand_images_with_many_equal_ones_take_seconds():
    codes = planted(100_000, 1000, 4)
    codes[::20] = 0  # five thousand blank images, whose pairs alone would be twelve million
    started = time.monotonic()
    assert len(find_collisions(codes, 4)) >= 5_900 * 0.9
    assert time.monotonic() - started < 30
