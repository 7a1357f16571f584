"""Archives of images: their members and links, archives in them, damage, and splits."""

import io
import json
import tarfile
import zipfile

import numpy as np
import pytest
from fakes import encoded, write_tar
from preparing import IMAGES, message, prepare, stored

from pixelvae_tf.data.preparation import archives, imagenet


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
