"""Images as a viewer shows them: every depth, transparency, orientation and format, or a reason in one line."""

import io
import struct

import numpy as np
import pytest
from fakes import encoded, pictures
from PIL import Image

from pixelvae_tf.data import pixels

RAMP = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))


def decoded(content, colors=3):
    return np.asarray(pixels.decode(content, colors))


def pgm(values, largest):
    return b"P5\n%d %d\n%d\n" % (values.shape[1], values.shape[0], largest) + values.tobytes()


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_by_their_range(format):
    wide = RAMP.astype(np.uint16) * 257
    np.testing.assert_array_equal(decoded(encoded(wide, format), colors=1), RAMP)
    np.testing.assert_array_equal(decoded(encoded(wide // 16, format), colors=1), np.round(wide // 16 / 257))


def test_sixteen_bits_of_a_pgm_are_scaled_too():
    wide = (RAMP.astype(np.uint16) * 257).astype(">u2")
    np.testing.assert_array_equal(decoded(pgm(wide, 65535), colors=1), RAMP)
    np.testing.assert_array_equal(decoded(pgm(RAMP, 255), colors=1), RAMP)


@pytest.mark.parametrize(("dtype", "kind"), [(np.int32, "32-bit"), (np.float32, "floating-point")])
def test_pixels_of_unknown_range_are_refused_by_name(dtype, kind):
    with pytest.raises(pixels.PixelError, match=kind):
        pixels.decode(encoded(RAMP.astype(dtype), "TIFF"))


def with_alpha(mode):
    """Noise that no one sees around a square that everyone sees, and what a viewer shows."""
    picture, hidden = pictures(1)[0], np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    inside = np.zeros((64, 64, 1), bool)
    inside[16:48, 16:48] = True
    if mode == "LA":
        picture, hidden = (np.repeat(image[..., :1], 3, axis=2) for image in (picture, hidden))
    rgb = np.where(inside, picture, hidden)
    alpha = np.where(inside, 255, 0).astype(np.uint8)
    channels = [rgb[..., :1], alpha] if mode == "LA" else [rgb, alpha]
    return np.concatenate(channels, axis=2), np.where(inside, picture, 255)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_lies_under_transparent_pixels_is_not_seen_but_white(mode):
    image, seen = with_alpha(mode)
    np.testing.assert_array_equal(decoded(encoded(image)), seen)


def test_half_transparent_pixels_are_mixed_with_white():
    image = np.zeros((4, 4, 4), np.uint8)
    image[..., 3] = 51
    np.testing.assert_array_equal(decoded(encoded(image)), np.full((4, 4, 3), 204))


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_a_transparent_color_is_white(mode):
    image, buffer = Image.new(mode, (4, 4), 0), io.BytesIO()
    image.save(buffer, "PNG", transparency=(0, 0, 0) if mode == "RGB" else 0)
    np.testing.assert_array_equal(decoded(buffer.getvalue()), np.full((4, 4, 3), 255))


@pytest.mark.parametrize(
    "format",
    ["PNG", "BMP", "TIFF", "PPM", "TGA", "WEBP", "JPEG2000", "AVIF", "JPEG", "GIF", "PCX", "QOI", "ICO", "SGI"],
)
def test_every_format_is_read_by_its_content(format):
    Image.init()
    if format not in Image.SAVE or format not in Image.OPEN:
        pytest.skip("this Pillow cannot")
    picture = pictures(1)[0]
    assert np.abs(decoded(encoded(picture, format)).astype(int) - picture).mean() < 12


def with_exif(image, *entries, behind=b""):
    """A JPEG file with EXIF entries (tag, type, count, four bytes), and what lies behind them."""
    tiff = b"II*\0" + struct.pack("<IH", 8, len(entries))
    tiff += b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries) + bytes(4) + behind
    content, body = encoded(image, "JPEG"), b"Exif\0\0" + tiff
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + content[2:]


def orientation(value, count=1):
    return (0x0112, 3, count, struct.pack("<HH", value, value))


# How rows and columns lie in the file, from how they are seen.
STORED = {
    1: lambda seen: seen,
    2: lambda seen: seen[:, ::-1],
    3: lambda seen: seen[::-1, ::-1],
    4: lambda seen: seen[::-1],
    5: lambda seen: seen.swapaxes(0, 1),
    6: lambda seen: np.rot90(seen),
    7: lambda seen: seen[::-1, ::-1].swapaxes(0, 1),
    8: lambda seen: np.rot90(seen, 3),
}


@pytest.mark.parametrize("value", STORED)
def test_photographs_are_turned_upright_from_all_eight_orientations(value):
    seen = pictures(1)[0][:40]
    content = with_exif(np.ascontiguousarray(STORED[value](seen)), orientation(value))
    found = decoded(content).astype(int)
    assert found.shape == seen.shape and np.abs(found - seen).mean() < 8


BEHIND = struct.pack("<I", 8 + 2 + 12 * 2 + 4)


@pytest.mark.parametrize(
    "extra",
    [
        ((0x011A, 5, 1, BEHIND), struct.pack("<II", 0xFFFFFFFF, 0)),
        ((0x011A, 10, 1, BEHIND), struct.pack("<ii", -1, 0)),
        ((0x9286, 7, 4718592, BEHIND), b""),
        ((0x8825, 4, 1, struct.pack("<I", 999999)), b""),
    ],
    ids=["infinite", "negative over zero", "behind the end", "pointer to nowhere"],
)
def test_odd_exif_data_do_not_cost_the_picture(extra):
    seen = pictures(1)[0][:40]
    entry, behind = extra
    content = with_exif(np.ascontiguousarray(np.rot90(seen)), orientation(6), entry, behind=behind)
    assert sorted(decoded(content).shape[:2]) == [40, 64]


def test_orientations_that_cannot_be_read_leave_the_picture_as_it_is():
    picture = pictures(1)[0]
    plain = decoded(encoded(picture, "JPEG"))
    np.testing.assert_array_equal(decoded(with_exif(picture, orientation(0))), plain)
    np.testing.assert_array_equal(decoded(with_exif(picture, orientation(6, count=2))), np.rot90(plain, 3))


def test_the_reason_for_an_unreadable_file_says_something():
    for content, reason in ((b"", "the file is empty"), (b"<html>404</html>", "no format that")):
        with pytest.raises(pixels.PixelError, match=reason):
            pixels.decode(content)
