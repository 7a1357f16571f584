"""ImageNet in every form in which it is published: what is stored, what is refused, what a stop leaves behind."""

import collections
import io
import json
import os
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
from fakes import encoded, pictures, small_imagenet, write_tar
from PIL import Image

from pixelvae_tf.data import DataError, pixels
from pixelvae_tf.data.preparation import archives, chrabaszcz, imagenet, writer

IMAGES = pictures(5)


def prepare(source, output, split="train", **settings):
    return imagenet.prepare(imagenet.ImageNetRequest(str(source), str(output), split, **settings))


def stored(output, split="train", size=64):
    """Name to image, read by TensorFlow Datasets alone."""
    import tensorflow_datasets as tfds

    dataset = tfds.load(f"imagenet64/{size}x{size}", data_dir=str(output), split=split)
    return {example["name"].decode(): example["image"] for example in tfds.as_numpy(dataset)}


def message(source, output, **settings):
    with pytest.raises(DataError) as caught:
        prepare(source, output, **settings)
    assert "\n" not in str(caught.value)
    assert not list(output.glob("imagenet64/*/*")), "what failed must leave nothing that looks like a dataset"
    return str(caught.value)


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


def batch_of(images):
    data = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return {"data": data, "labels": list(range(len(images))), "mean": data.mean(axis=0)}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickled_batches_of_every_protocol_hold_colors_first(tmp_path, protocol):
    folder = tmp_path / "batches"
    folder.mkdir()
    (folder / "train_data_batch_1").write_bytes(pickle.dumps(batch_of(IMAGES), protocol))
    problems = imagenet.Problems("fail")
    got = dict(chrabaszcz.read_batches(folder, problems))
    assert sorted(got) == [f"train_data_batch_1/{index:07d}" for index in range(5)]
    np.testing.assert_array_equal(np.stack(list(got.values())), IMAGES)


def test_batches_are_read_from_zip_archives_and_npz_in_their_order(tmp_path):
    with zipfile.ZipFile(tmp_path / "part1.zip", "w") as archive:
        for number in (10, 2):
            archive.writestr(f"train_data_batch_{number}", pickle.dumps(batch_of(IMAGES[:1])))
    names = [name for name, _ in chrabaszcz.read_batches(tmp_path / "part1.zip", imagenet.Problems("fail"))]
    assert names == ["train_data_batch_2/0000000", "train_data_batch_10/0000000"]
    np.savez(tmp_path / "val_data.npz", data=batch_of(IMAGES)["data"])
    summary = prepare(tmp_path / "val_data.npz", tmp_path / "out", split="validation", image_size=32)
    assert (summary["variant"], summary["images"]) == ("chrabaszcz", 5)
    np.testing.assert_array_equal(
        stored(tmp_path / "out", "validation", 32)["val_data.npz/0000003"], pixels.halve(IMAGES[3])
    )


class Malicious:
    def __init__(self, call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [os.system, eval, collections.OrderedDict, np.load, io.open])
def test_a_pickle_that_asks_for_anything_but_arrays_is_refused(tmp_path, function):
    mark = tmp_path / "mark"
    arguments = {os.system: (f"touch {mark}",), eval: (f"open({str(mark)!r}, 'w')",), io.open: (str(mark), "w")}
    call = (function, arguments.get(function, ()))
    (tmp_path / "train_data_batch_1").write_bytes(pickle.dumps({"data": Malicious(call)}))
    text = message(tmp_path / "train_data_batch_1", tmp_path / "out")
    assert "train_data_batch_1" in text and "only NumPy arrays are admitted" in text
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"nonsense", [1], {"data": np.zeros((2, 5))}, {"labels": [1]}])
def test_a_batch_that_holds_no_images_is_named(tmp_path, content):
    (tmp_path / "val_data").write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))
    assert "val_data: not a readable batch" in message(tmp_path / "val_data", tmp_path / "out", split="validation")


def _good():
    return [(f"a/{index}.png", encoded(image)) for index, image in enumerate(IMAGES)]


def _cut(path, part):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])


def damaged_archives():
    return {
        "corrupt image": ([*_good(), ("a/bad.png", encoded(IMAGES[0])[:500])], ["a/bad.png"]),
        "no image at all": ([*_good(), ("a/text.jpg", b"text")], ["a/text.jpg"]),
        "another size": ([*_good(), ("a/wide.png", encoded(IMAGES[0][:, :32]))], ["a/wide.png", "32x64", "64x64"]),
        "outside the tree": ([*_good(), ("../evil.png", encoded(IMAGES[0]))], ["../evil.png"]),
        "absolute path": ([*_good(), ("/etc/evil.png", encoded(IMAGES[0]))], ["/etc/evil.png"]),
        "hidden outside": ([*_good(), ("a/../../evil.png", encoded(IMAGES[0]))], ["a/../../evil.png"]),
    }


@pytest.mark.parametrize("case", damaged_archives())
def test_a_problem_is_named_or_skipped_and_counted(tmp_path, case):
    members, wanted = damaged_archives()[case]
    write_tar(tmp_path / "a.tar", members)
    text = message(tmp_path / "a.tar", tmp_path / "out")
    assert all(word in text for word in [*wanted, "a.tar", "--on_error=skip"])
    summary = prepare(tmp_path / "a.tar", tmp_path / "out", on_error="skip")
    assert (summary["images"], summary["skipped"]) == (5, 1)
    assert wanted[0] in summary["skipped_names"][0]
    metadata = json.loads((tmp_path / "out/imagenet64/64x64/1.0.0/metadata.json").read_text())
    assert metadata["splits"]["train"]["skipped"] == 1


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("part", [0.3, 0.5, 0.7])
def test_a_truncated_archive_is_named_or_counted_once(tmp_path, mode, part):
    archive = write_tar(tmp_path / "a.tar", _good(), mode)
    _cut(archive, part)
    assert "a.tar" in message(archive, tmp_path / "out")
    problems = imagenet.Problems("skip")
    read = list(archives.read_tar(archive, problems))
    assert read == _good()[: len(read)] and len(read) < 5
    assert problems.count == 1


def test_an_archive_cut_between_members_is_found(tmp_path):
    archive = write_tar(tmp_path / "a.tar", _good())
    with tarfile.open(archive) as members:
        archive_end = members.getmembers()[3].offset
    archive.write_bytes(archive.read_bytes()[:archive_end])
    assert "cut short" in message(archive, tmp_path / "out")


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


def with_links(path, *links):
    """An archive of one image and links to it: (name, target, type)."""
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("a/0.png")
        member.size = len(encoded(IMAGES[0]))
        archive.addfile(member, io.BytesIO(encoded(IMAGES[0])))
        for name, target, kind in links:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            archive.addfile(member)
    return path


def test_hard_links_of_an_archive_are_read_as_the_image_that_they_name(tmp_path):
    links = [("b/1.png", "a/0.png", tarfile.LNKTYPE), ("b/2.png", "b/1.png", tarfile.LNKTYPE)]
    inner = with_links(tmp_path / "inner.tar", *links)
    write_tar(tmp_path / "a.tar", [("class.tar", inner.read_bytes()), ("x.png", encoded(IMAGES[1]))])
    problems = imagenet.Problems("fail")
    found = dict(archives.read(tmp_path / "a.tar", "train", problems))
    assert set(found) == {"class/a/0.png", "class/b/1.png", "class/b/2.png", "x.png"}
    assert found["class/b/1.png"] == found["class/b/2.png"] == encoded(IMAGES[0])


@pytest.mark.parametrize(
    "link",
    [("s.png", "a/0.png", tarfile.SYMTYPE), ("h.png", "a/absent.png", tarfile.LNKTYPE), ("d.png", "", tarfile.CHRTYPE)],
)
def test_other_links_of_an_archive_are_problems_by_name(tmp_path, link):
    archive = with_links(tmp_path / "a.tar", link)
    assert link[0] in message(archive, tmp_path / "out")
    problems = imagenet.Problems("skip")
    assert [name for name, _ in archives.read(archive, "train", problems)] == ["a/0.png"]
    assert problems.count == 1 and link[0] in problems.names[0]


def test_archives_in_an_archive_are_read_or_are_problems_and_the_rest_is_counted(tmp_path):
    inner = write_tar(tmp_path / "inner.tgz", [("./1.png", encoded(IMAGES[0]))], "w:gz")
    members = [
        ("n01440764.tar.gz", inner.read_bytes()),
        ("n02.zip", b"PK"),
        ("labels.txt", b"a 1"),
        ("__MACOSX/._1.png", b""),
        ("named by nobody", encoded(IMAGES[1], "JPEG")),
    ]
    problems = imagenet.Problems("skip")
    found = [name for name, _ in archives.read(write_tar(tmp_path / "a.tar", members), "train", problems)]
    assert found == ["n01440764/1.png", "named by nobody"]
    assert problems.count == 1 and "n02.zip" in problems.names[0]
    assert problems.record()["passed_over"] == {"no image (.txt)": 1, "hidden": 1}


def test_a_zip_of_images_is_read_like_a_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, image in zip(("set/1.png", "set/2.jpeg"), IMAGES[:2], strict=True):
            archive.writestr(name, encoded(image))
        archive.writestr("../evil.png", encoded(IMAGES[2]))
        archive.writestr("set/notes.txt", "no image")
    assert "../evil.png" in message(tmp_path / "a.zip", tmp_path / "out")
    summary = prepare(tmp_path / "a.zip", tmp_path / "out", on_error="skip")
    assert (summary["images"], summary["skipped"], summary["passed_over"]) == (2, 1, {"no image (.txt)": 1})
    np.testing.assert_array_equal(stored(tmp_path / "out")["set/1.png"], IMAGES[0])


def test_of_several_splits_in_one_folder_one_is_prepared_and_an_archive_of_them_is_refused(tmp_path):
    for split, number in (("train", 2), ("val", 1)):
        for index in range(number):
            path = tmp_path / "tiny" / split / "n01" / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(IMAGES[index]))
    for split, names in (("train", ["train/n01/0.png", "train/n01/1.png"]), ("validation", ["val/n01/0.png"])):
        assert [name for name, _ in archives.read(tmp_path / "tiny", split, imagenet.Problems("fail"))] == names
    assert "none for --split=test" in message(tmp_path / "tiny", tmp_path / "out", split="test")
    with tarfile.open(tmp_path / "tiny.tar", "w") as archive:
        archive.add(tmp_path / "tiny", "tiny")
    assert "several splits" in message(tmp_path / "tiny.tar", tmp_path / "out")


def test_batches_of_several_splits_in_one_folder_are_read_by_split_and_once(tmp_path):
    for name, count in (("train_data_batch_1", 3), ("train_data_batch_2", 2), ("val_data", 1)):
        (tmp_path / name).write_bytes(pickle.dumps(batch_of(IMAGES[:count])))
    np.savez(tmp_path / "train_data_batch_1.npz", **batch_of(IMAGES[:3]))
    with zipfile.ZipFile(tmp_path / "part2.zip", "w") as archive:
        archive.writestr("train_data_batch_6", pickle.dumps(batch_of(IMAGES[:1])))
    problems = imagenet.Problems("fail")
    counts = {}
    for split in ("train", "validation", "test"):
        counts[split] = len(list(chrabaszcz.read_batches(tmp_path, problems, split)))
    assert counts == {"train": 6, "validation": 1, "test": 1}
    assert problems.passed_over == {"second form of a batch": 1}
    assert "is one part of several" in message(tmp_path / "part2.zip", tmp_path / "out")
    assert "no readable batch of images for --split=test" in message(
        tmp_path / "train_data_batch_1", tmp_path / "out", split="test"
    )


def test_batches_of_32x32_are_stored_as_they_are_and_not_enlarged(tmp_path):
    small = pictures(3, 32)
    (tmp_path / "train_data_batch_1").write_bytes(pickle.dumps(batch_of(small)))
    assert "--image_size=32" in message(tmp_path / "train_data_batch_1", tmp_path / "out")
    summary = prepare(tmp_path / "train_data_batch_1", tmp_path / "out", image_size=32)
    # Not the mean of the images of 64x64: likelihoods on the two do not compare.
    assert (summary["variant"], summary["images"]) == ("chrabaszcz-32x32", 3)
    np.testing.assert_array_equal(stored(tmp_path / "out", size=32)["train_data_batch_1/0000001"], small[1])


@pytest.mark.parametrize("name", ["train_data/cat/1.png", "train_data_0000.png", "val_data.csv", "val_data/1.png"])
def test_names_that_only_begin_like_those_of_batches_are_no_batches(tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(encoded(IMAGES[0]))
    (tmp_path / "images").mkdir()
    (tmp_path / "images/2.png").write_bytes(encoded(IMAGES[1]))
    assert not chrabaszcz.has_batches(tmp_path)
    expected = {"images/2.png"} | ({name} if name.endswith("png") else set())
    found = {name for name, _ in archives.read(tmp_path, "train", imagenet.Problems("fail"))}
    assert found == expected | ({name} if name.endswith("csv") else set())


def test_names_that_are_no_text_are_stored_in_text(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / os.fsdecode(b"caf\xe9.png")).write_bytes(encoded(IMAGES[0]))
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "in", "in")
    prepare(tmp_path / "a.tar", tmp_path / "out")
    assert set(stored(tmp_path / "out")) == {"in/caf\\udce9.png"}
