"""ImageNet in every form in which it is published: what is stored, what is refused, what a stop leaves behind."""

import json
import os
import tarfile

import numpy as np
import pytest
from fakes import encoded, pictures, small_imagenet, write_tar
from PIL import Image
from preparing import IMAGES, message, prepare, stored

from pixelvae_tf.data import DataError, pixels
from pixelvae_tf.data.preparation import writer


def test_tfds_reads_both_splits_of_one_dataset_unchanged(tmp_path):
    train = small_imagenet(tmp_path / "train.tar", IMAGES)
    valid = small_imagenet(tmp_path / "valid.tar", IMAGES[::-1][:3], "valid")
    summary = prepare(train, tmp_path / "out")
    assert (summary["images"], summary["skipped"], summary["variant"]) == (5, 0, "vandenoord")
    prepare(valid, tmp_path / "out", split="validation")
    train_images, valid_images = stored(tmp_path / "out"), stored(tmp_path / "out", "validation")
    assert len(train_images) == 5 and len(valid_images) == 3
    for index, image in enumerate(IMAGES):
        np.testing.assert_array_equal(train_images[f"train_64x64/{index + 1:07d}.png"], image)
    np.testing.assert_array_equal(valid_images["valid_64x64/0000001.png"], IMAGES[-1])


def test_metadata_holds_the_variant_the_source_and_checksums_of_every_shard(tmp_path):
    import hashlib

    prepare(small_imagenet(tmp_path / "a.tar", IMAGES), tmp_path / "out")
    prepare(small_imagenet(tmp_path / "b.tar", IMAGES[:2], "valid"), tmp_path / "out", split="validation")
    folder = tmp_path / "out/imagenet64/64x64/1.0.0"
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata["variant"] == "vandenoord" and metadata["image_size"] == 64
    assert [metadata["splits"][split]["source"] for split in ("train", "validation")] == ["a.tar", "b.tar"]
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.tfrecord-*")}
    assert metadata["sha256"] == sums and len(sums) == 2


def test_32_is_the_rounded_mean_of_two_by_two_pixels_of_64(tmp_path):
    prepare(small_imagenet(tmp_path / "a.tar", IMAGES), tmp_path / "out", image_size=32)
    got = stored(tmp_path / "out", size=32)
    for index, image in enumerate(IMAGES):
        exact = sum(image[y::2, x::2].astype(float) for y in (0, 1) for x in (0, 1)) / 4
        np.testing.assert_array_equal(got[f"train_64x64/{index + 1:07d}.png"], np.floor(exact + 0.5))


def test_more_images_than_one_worker_takes_arrive_complete(tmp_path):
    images = pictures(150)
    assert prepare(small_imagenet(tmp_path / "a.tar", images), tmp_path / "out")["images"] == 150
    got = stored(tmp_path / "out")
    for index in (0, 31, 32, 100, 149):
        np.testing.assert_array_equal(got[f"train_64x64/{index + 1:07d}.png"], images[index])


def test_a_grey_image_gets_three_equal_colors(tmp_path):
    grey = IMAGES[0][..., 0]
    write_tar(tmp_path / "a.tar", [("a/grey.png", encoded(grey))])
    prepare(tmp_path / "a.tar", tmp_path / "out")
    np.testing.assert_array_equal(stored(tmp_path / "out")["a/grey.png"], np.repeat(grey[..., None], 3, axis=2))


def test_photographs_of_ilsvrc2012_are_cropped_to_the_center_and_averaged_by_area(tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (128, 192, 3), np.uint8)
    # A PNG under this name: its pixels are exact.
    inner = write_tar(tmp_path / "n01440764.tar", [("n01440764_10026.JPEG", encoded(photo))])
    write_tar(tmp_path / "train.tar", [("n01440764.tar", inner.read_bytes())])
    assert prepare(tmp_path / "train.tar", tmp_path / "out")["variant"] == "ilsvrc2012-area"
    center = photo[:, 32:160].astype(float)
    mean = center.reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
    got = stored(tmp_path / "out")["n01440764/n01440764_10026.JPEG"]
    np.testing.assert_array_equal(got, np.floor(mean + 0.5))


@pytest.mark.parametrize(
    "names, variant",
    [
        (["train_64x64/0000001.png"], "vandenoord"),
        (["valid_64x64/49999.png"], "vandenoord"),
        (["train_64x64/0000001.jpg"], "other"),  # the published archives hold PNG
        (["ILSVRC2012_val_00000001.JPEG"], "ilsvrc2012-area"),
        (["cats/1.png"], "other"),
    ],
)
def test_the_variant_is_told_from_the_names(tmp_path, names, variant):
    write_tar(tmp_path / "a.tar", [(name, encoded(IMAGES[0])) for name in names])
    assert prepare(tmp_path / "a.tar", tmp_path / "out")["variant"] == variant


def test_a_folder_is_read_in_depth_and_the_variant_may_be_named(tmp_path):
    folder = tmp_path / "images/cats"
    folder.mkdir(parents=True)
    (folder / "1.png").write_bytes(encoded(IMAGES[0]))
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no image")
    summary = prepare(tmp_path / "images", tmp_path / "out", variant="tiny-imagenet-200")
    assert (summary["images"], summary["variant"]) == (1, "tiny-imagenet-200")
    assert set(stored(tmp_path / "out")) == {"cats/1.png"}


def test_an_interrupted_preparation_leaves_nothing_and_the_next_completes_it(tmp_path):
    prepare(small_imagenet(tmp_path / "a.tar", IMAGES), tmp_path / "out")
    valid = small_imagenet(tmp_path / "b.tar", IMAGES[:3], "valid")
    target = writer.Target(tmp_path / "out", "imagenet64", "validation", 64, "vandenoord")

    def interrupted():
        yield "first", IMAGES[0]
        # What a killed process leaves is what is there at this moment.
        assert set(stored(tmp_path / "out")) and target.staging.exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        writer.write_split(target, interrupted(), dict)
    (target.staging / "imagenet64").mkdir(parents=True)
    (target.staging / "imagenet64/half.tfrecord-00000-of-00001").write_bytes(b"half")
    assert set(writer.prepared.read_description(target.folder).shards) == {"train"}
    assert prepare(valid, tmp_path / "out", split="validation")["images"] == 3
    assert not target.staging.exists()
    assert set(stored(tmp_path / "out", "validation")) == {f"valid_64x64/{n:07d}.png" for n in (1, 2, 3)}


def test_a_stop_while_a_split_is_joined_leaves_the_dataset_as_it_was(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    prepare(small_imagenet(tmp_path / "a.tar", IMAGES), tmp_path / "out")
    valid = small_imagenet(tmp_path / "b.tar", IMAGES[:3], "valid")

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(tfds.core.DatasetInfo, "set_splits", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(valid, tmp_path / "out", split="validation")
    assert len(stored(tmp_path / "out")) == 5
    assert prepare(valid, tmp_path / "out", split="validation")["images"] == 3
    assert len(stored(tmp_path / "out", "validation")) == 3


def test_variants_are_not_mixed_and_a_split_is_not_prepared_twice(tmp_path):
    archive = small_imagenet(tmp_path / "a.tar", IMAGES)
    prepare(archive, tmp_path / "out")
    with pytest.raises(DataError, match="'train' is prepared already"):
        prepare(archive, tmp_path / "out")
    with pytest.raises(DataError, match="holds the variant 'vandenoord', not 'mine'"):
        prepare(archive, tmp_path / "out", split="validation", variant="mine")


def test_two_images_of_one_name_are_refused(tmp_path):
    write_tar(tmp_path / "a.tar", [("a.png", encoded(image)) for image in IMAGES[:2]])
    assert "the same name" in message(tmp_path / "a.tar", tmp_path / "out")


def test_input_that_is_missing_empty_or_something_else_is_named(tmp_path):
    out = tmp_path / "out"
    assert "--input is empty" in message("", out)
    assert "no such file" in message(tmp_path / "absent.tar", out)
    (tmp_path / "text.tar").write_text("not a tar archive, however long it may be")
    assert "text.tar: not a tar archive" in message(tmp_path / "text.tar", out)
    (tmp_path / "folder").mkdir()
    assert "holds no images" in message(tmp_path / "folder", out)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="--output=.*is a file"):
        prepare(small_imagenet(tmp_path / "a.tar", IMAGES), tmp_path / "file")


def test_a_photograph_is_turned_upright(tmp_path):
    photo = IMAGES[0][:, :40]
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side
    turned = encoded(photo, "PNG", exif=exif)
    np.testing.assert_array_equal(np.asarray(pixels.decode(turned)), np.rot90(photo, 3))


@pytest.mark.skipif(
    not os.environ.get("PIXELVAE_TEST_IMAGENET_DIR"),
    reason="needs small-ImageNet archives: set PIXELVAE_TEST_IMAGENET_DIR to their folder",
)
def test_real_photographs_are_stored_as_pillow_decodes_them(tmp_path):
    import pathlib

    source = pathlib.Path(os.environ["PIXELVAE_TEST_IMAGENET_DIR"]) / "valid_64x64.tar"
    summary = prepare(source, tmp_path / "out", split="validation")
    assert summary["images"] == 2000 and summary["skipped"] == 0
    got = stored(tmp_path / "out", "validation")
    with tarfile.open(source) as archive:
        members = [member for member in archive if member.isfile()]
        assert {member.name for member in members} == set(got)
        for member in members[::100]:
            expected = Image.open(archive.extractfile(member)).convert("RGB")
            np.testing.assert_array_equal(got[member.name], np.asarray(expected))


def test_names_that_are_no_text_are_stored_in_text(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / os.fsdecode(b"caf\xe9.png")).write_bytes(encoded(IMAGES[0]))
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "in", "in")
    prepare(tmp_path / "a.tar", tmp_path / "out")
    assert set(stored(tmp_path / "out")) == {"in/caf\\udce9.png"}
