"""Image files as a model takes them: found in order, of its size, of its levels."""

import numpy as np
import pytest
from fakes import encoded, pictures
from PIL import Image

from pixelvae_tf.data import DataError, image_files
from pixelvae_tf.evaluation.pictures import as_bytes


def write(path, image, format="PNG"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(image, format))
    return path


@pytest.mark.parametrize("levels", [2, 3, 17, 255, 256])
@pytest.mark.parametrize("colors", [1, 3])
def test_levels_written_as_a_picture_come_back_exactly(levels, colors, tmp_path):
    image = np.random.default_rng(0).integers(levels, size=(16, 20, colors)).astype("uint8")
    image[0, :2, 0] = (0, levels - 1)
    picture = as_bytes(image, levels)
    path = write(tmp_path / "a.png", picture[..., 0] if colors == 1 else picture)
    found = image_files.read(path, image.shape, levels, resize=False)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, image)


def test_every_grey_becomes_the_nearest_level(tmp_path):
    greys = np.arange(256, dtype="uint8").reshape(16, 16)
    path = write(tmp_path / "a.png", greys)
    binary = image_files.read(path, (16, 16, 1), 2, resize=False)[..., 0]
    np.testing.assert_array_equal(binary, greys > 127)
    np.testing.assert_array_equal(image_files.read_mask(path, 16, 16), greys > 127)
    coarse = image_files.read(path, (16, 16, 1), 17, resize=False)[..., 0]
    distances = np.abs(greys[..., None] - 255 / 16 * np.arange(17))
    np.testing.assert_array_equal(coarse, distances.argmin(axis=-1))


def test_an_image_of_another_size_is_refused_with_both_sizes_or_resized_where_asked(tmp_path):
    wide = pictures(1, 48)[0][:32]
    path = write(tmp_path / "wide.png", wide)
    with pytest.raises(DataError) as error:
        image_files.read(path, (16, 16, 3), 256, resize=False)
    for part in (str(path), "48 wide and 32 high", "takes 16 and 16", "--resize"):
        assert part in str(error.value)
    with pytest.raises(DataError, match="48 wide and 32 high"):
        image_files.read_mask(path, 16, 16)
    resized = image_files.read(path, (16, 16, 3), 256, resize=True)
    np.testing.assert_array_equal(resized, np.floor(wide[:, 8:40].reshape(16, 2, 16, 2, 3).mean(axis=(1, 3)) + 0.5))


def test_an_image_of_the_right_size_is_not_changed_by_resizing(tmp_path):
    image = pictures(1, 16)[0]
    path = write(tmp_path / "a.png", image)
    for resize in (False, True):
        np.testing.assert_array_equal(image_files.read(path, (16, 16, 3), 256, resize=resize), image)


@pytest.mark.parametrize("content", [b"no image", b"", encoded(pictures(1)[0])[:2000]])
def test_an_unreadable_image_is_named(content, tmp_path):
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    for read in (
        lambda: image_files.read(path, (64, 64, 3), 256, resize=True),
        lambda: image_files.read_mask(path, 64, 64),
    ):
        with pytest.raises(DataError, match="bad.png: no readable image"):
            read()
    with pytest.raises(DataError, match="absent.png: cannot be read"):
        image_files.read(tmp_path / "absent.png", (64, 64, 3), 256, resize=True)


def test_a_folder_stands_for_its_images_at_any_depth_in_order_and_a_file_for_itself(tmp_path):
    images = pictures(5, 16)
    names = ["a.png", "b/c.png", "b/d/e.jpg", "f.PNG", "g.bmp"]
    for name, image in zip(names, images, strict=True):
        write(tmp_path / name, image, {"jpg": "JPEG", "bmp": "BMP"}.get(name[-3:], "PNG"))
    (tmp_path / "notes.txt").write_text("mine")
    assert image_files.find(str(tmp_path), "input") == (tmp_path, names)
    assert image_files.find(str(tmp_path / "b/c.png"), "input") == (tmp_path / "b", ["c.png"])
    for batch_size in (1, 2, 5, 9):
        batches = list(image_files.Batches(tmp_path, names, (16, 16, 3), 256, batch_size))
        assert {len(batch) for batch in batches[:-1]} <= {batch_size}
        together = np.concatenate(batches)
        for index in (0, 1, 3, 4):
            np.testing.assert_array_equal(together[index], images[index])
        assert len(together) == 5


@pytest.mark.parametrize(
    ("name", "message"), [("", "empty"), ("absent", "no such file or folder"), ("void", "no images")]
)
def test_what_holds_no_images_is_named_with_its_flag(name, message, tmp_path):
    (tmp_path / "void").mkdir()
    with pytest.raises(DataError, match=message) as error:
        image_files.find(name and str(tmp_path / name), "input")
    assert "--input" in str(error.value)


def test_images_whose_pixels_were_rounded_are_counted(tmp_path):
    image = np.random.default_rng(0).integers(2, size=(16, 16)).astype("uint8")
    write(tmp_path / "binary.png", image * 255)
    grey = image * 255
    grey[3, 5] = 100
    write(tmp_path / "grey.png", grey)
    for levels, rounded in ((2, 1), (256, 0)):
        batches = image_files.Batches(tmp_path, ["binary.png", "grey.png"], (16, 16, 1), levels, 1)
        assert len(list(batches)) == 2
        assert batches.rounded == rounded


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (Image.new("RGB", (4, 4), (1, 2, 3)), "has colors"),
        (Image.new("LA", (4, 4), (7, 254)), "is transparent"),
        (Image.fromarray(np.full((4, 4), 300, "uint16")), "has 16 bits a value"),
        (Image.new("L", (4, 4), 7), "between the 2 levels"),
        (Image.new("L", (5, 4), 255), "5 wide and 4 high"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_image_that_would_lose_something_is_refused_by_name(image, reason, tmp_path):
    image.save(tmp_path / "a.png")
    with pytest.raises(DataError, match=f"a.png: .*{reason}"):
        image_files.read_exactly(tmp_path, ["a.png"], (4, 4, 1), 2)


def test_images_of_which_nothing_is_lost_are_read_as_they_are(tmp_path):
    levels = np.random.default_rng(0).integers(2, size=(3, 4, 4, 3), dtype="uint8")
    for index, (mode, image) in enumerate(zip(("RGB", "RGBA", "P"), levels, strict=True)):
        Image.fromarray(image * 255).convert(mode).save(tmp_path / f"{index}.png")
    found = image_files.read_exactly(tmp_path, ["0.png", "1.png", "2.png"], (4, 4, 3), 2)
    np.testing.assert_array_equal(found, levels)
    assert found.dtype == np.uint8
