"""The file of compressed images: what was packed comes back, and anything else is refused in one line."""

import binascii
import pathlib

import numpy as np
import pytest

from pixelvae_tf.compression.container import Container, picture_names, read, unpack
from pixelvae_tf.files import FileError

PATH = pathlib.Path("some.pvae")


def some_file(names=("a.png", "b/c.jpg", "d")) -> Container:
    words = tuple(np.random.default_rng(0).integers(1, 1 << 32, size=count, dtype="uint32") for count in (200, 0))
    return Container((28, 28, 1), 2, 3, 128, 40, b"modelsum", b"imagesum", 0x89ABCDEF, tuple(names), words)


@pytest.mark.parametrize("names", [(), ("a.png", "b/c.jpg", "\udcff.png")])
def test_what_was_packed_comes_back(names):
    stored = some_file(names)
    data, name_bytes, word_bytes = stored.pack()
    found = unpack(data, PATH)
    for field in ("image_shape", "pixel_levels", "num_images", "batch_size", "growth", "model", "images", "names"):
        assert getattr(found, field) == getattr(stored, field)
    assert found.probabilities == stored.probabilities
    for words, expected in zip(found.parts, stored.parts, strict=True):
        np.testing.assert_array_equal(words, expected)
    assert len(data) - name_bytes - word_bytes <= 44


def damaged(data: bytes, generator: np.random.Generator) -> bytes:
    """One of the ways in which a file is damaged."""
    at, other = (int(number) for number in generator.integers(len(data), size=2))
    flipped = data[:at] + bytes([data[at] ^ 1 << int(generator.integers(8))]) + data[at + 1 :]
    first, last = min(at, other), max(at, other) + 1
    return [
        flipped,
        data[:at],
        data + bytes(1 + other % 9),
        data[:first] + data[last:],
        data[:first] + bytes(last - first) + data[last:],
        data[:at] + b"\x5a" + data[at:],
        data[:first] + data[first:last][::-1] + data[last:],
    ][int(generator.integers(7))]


def test_a_thousand_damaged_files_are_refused():
    data, _, _ = some_file().pack()
    generator = np.random.default_rng(1)
    for _ in range(1000):
        changed = damaged(data, generator)
        if changed != data:
            with pytest.raises(FileError, match="some.pvae: (truncated or altered|not a file of compressed)"):
                unpack(changed, PATH)


def test_damage_that_keeps_the_checksum_ends_in_one_line_or_in_a_whole_container():
    data, _, _ = some_file().pack()
    generator = np.random.default_rng(2)
    refused = 0
    for _ in range(300):
        body = damaged(data, generator)[:-4]
        try:
            unpack(body + binascii.crc32(body).to_bytes(4, "little"), PATH)
        except FileError:
            refused += 1
    assert refused > 100


def test_a_file_of_another_format_is_told_as_such():
    body = bytearray(some_file().pack()[0][:-4])
    body[4] = 9
    with pytest.raises(FileError, match="format 9"):
        unpack(bytes(body) + binascii.crc32(body).to_bytes(4, "little"), PATH)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileError, match="--input=.*absent.pvae: cannot be read"):
        read(str(tmp_path / "absent.pvae"), "input")
    with pytest.raises(FileError, match="--input is empty"):
        read("", "input")


def test_pictures_have_the_names_of_the_images_or_numbers_and_never_two_the_same():
    assert picture_names(some_file()) == ["a.png", "b/c.jpg.png", "d.png"]
    assert picture_names(some_file(("d.png", "d", "d_.png"))) == ["d.png", "d_.png", "d__.png"]
    assert picture_names(some_file(())) == ["0.png", "1.png", "2.png"]


@pytest.mark.parametrize("name", ["../a.png", "/etc/a.png", "a/../../b.png", ""])
def test_names_that_lead_out_of_the_folder_are_refused(name):
    data, _, _ = some_file((name, "b.png", "c.png")).pack()
    with pytest.raises(FileError, match="do not fit"):
        unpack(data, PATH)
