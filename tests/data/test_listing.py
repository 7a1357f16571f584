"""What of a folder is taken: images by content, each once, nothing hidden; and what is said of the rest."""

import os

import pytest
from fakes import encoded, pictures

from pixelvae_tf.data.listing import is_hidden, list_folder, shown, summed_up
from pixelvae_tf.data.splits import split_of

PNG = encoded(pictures(1)[0])


def fill(folder, *names, content=PNG):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_links_back_and_second_names_of_folders_and_files_add_nothing(tmp_path):
    fill(tmp_path / "photos", "a/0.png", "a/1.png")
    (tmp_path / "photos/a/up").symlink_to("..")
    (tmp_path / "photos/a/out").symlink_to("../..")
    (tmp_path / "photos/again").symlink_to("a")
    (tmp_path / "photos/best").mkdir()
    (tmp_path / "photos/best/0.png").symlink_to("../a/0.png")
    (tmp_path / "photos/gone.png").symlink_to("nowhere.png")
    (tmp_path / "photos/self").symlink_to("self")
    found = list_folder(tmp_path / "photos")
    assert found.names == ("a/0.png", "a/1.png")
    assert found.passed_over == {
        "second name (link) of a folder": 2,
        "link to a folder around this one": 1,
        "second name (link) of an image": 1,
        "broken link": 2,
    }


def test_links_to_elsewhere_are_followed_once_whatever_they_are_called(tmp_path):
    fill(tmp_path / "store", "x/0.png", "1.png", "2.png")
    (tmp_path / "photos").mkdir()
    for name, target in (("b", "../store/x"), ("a", "../store"), ("one.png", "../store/1.png")):
        (tmp_path / "photos" / name).symlink_to(target)
    found = list_folder(tmp_path / "photos")
    assert found.names == ("a/1.png", "a/2.png", "a/x/0.png")
    assert found.real_path("a/x/0.png") == os.path.realpath(tmp_path / "store/x/0.png")


def test_hard_links_are_files_of_their_own(tmp_path):
    fill(tmp_path, "0.png")
    os.link(tmp_path / "0.png", tmp_path / "1.png")
    assert list_folder(tmp_path).names == ("0.png", "1.png")


@pytest.mark.parametrize(
    "name", [".ipynb_checkpoints/0.png", ".0.png", "__MACOSX/._0.png", "a/@eaDir/0.png", "$RECYCLE.BIN/0.png"]
)
def test_what_is_hidden_and_the_litter_of_systems_is_passed_over(tmp_path, name):
    fill(tmp_path, name, "b.png")
    found = list_folder(tmp_path)
    assert found.names == ("b.png",) and found.passed_over == {"hidden": 1}
    assert is_hidden(name) and not is_hidden("a/b.png") and not is_hidden("./a.b/c.png")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF"])
def test_images_are_known_by_their_first_bytes_where_their_names_say_nothing(tmp_path, format):
    fill(tmp_path, "IMG_1629.JPG?1507122477", "plain", content=encoded(pictures(1)[0], format))
    assert len(list_folder(tmp_path).names) == 2


@pytest.mark.parametrize("suffix", ["jfif", "avif", "jp2", "tga", "jpe", "PGM", "tif"])
def test_all_usual_suffixes_are_images(tmp_path, suffix):
    fill(tmp_path, f"a.{suffix}", content=b"whatever it holds, which its reader will say")
    assert len(list_folder(tmp_path).names) == 1


def test_other_files_are_counted_by_their_suffix(tmp_path):
    texts = [b"Python 3", b"BM is the mark of a bitmap", b"P1 first, then P2", b""]
    for number, text in enumerate(texts):
        fill(tmp_path, f"{number}.txt", content=text)
    fill(tmp_path, "x.heic", "README", content=b"\0\0\0\x18ftypheic")
    found = list_folder(tmp_path)
    assert not found.names
    assert summed_up(found.passed_over) == "4 no image (.txt), 1 no image (.heic), 1 no image (without suffix)"


def test_any_name_is_shown_in_one_line_of_text():
    assert shown(os.fsdecode(b"caf\xe9\n.png")) == r"caf\udce9\n.png"
    assert shown("写真 1.png") == "写真 1.png"


@pytest.mark.parametrize(
    ("split", "names"),
    {
        "train": ["train", "Training", "train_64x64", "TRAIN-data"],
        "validation": ["val", "valid", "Validation", "dev", "valid_64x64", "val_data"],
        "test": ["test", "testing", "test_images"],
        None: ["trains", "value", "holdout", "test2", "images"],
    }.items(),
)
def test_the_usual_names_of_splits_are_understood(split, names):
    assert {split_of(name) for name in names} == {split}
