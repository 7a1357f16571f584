"""Files are whole or absent, also on a full disk and after a kill; what a killed process left is told by its name."""

import errno
import os
import pathlib

import pytest

from pixelvae_tf import files
from pixelvae_tf.files import FileError

# A process that cannot be: the numbers of Linux end before it.
GONE = 2**22 + 1


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("Unable to close file (errno = 28, error message = 'No space left on device')"),
        PermissionError(errno.EACCES, "Permission denied"),
    ],
)
def test_a_disk_that_takes_no_more_is_told_in_a_line_and_leaves_the_earlier_file(error, tmp_path):
    path = tmp_path / "a.json"
    path.write_text("before")
    with (
        pytest.raises(FileError, match=r"a\.json: cannot be written \((No space|Permission)"),
        files.replacing(path) as t,
    ):
        t.write_text("half")
        raise error
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["a.json"]


def test_what_fails_elsewhere_is_not_blamed_on_the_output(tmp_path):
    with pytest.raises(FileNotFoundError), files.replacing(tmp_path / "a.json"):
        pathlib.Path("/nowhere/input").read_bytes()
    with pytest.raises(ZeroDivisionError), files.replacing_folder(tmp_path / "a"):
        raise ZeroDivisionError
    assert not os.listdir(tmp_path)


def test_a_folder_that_cannot_be_finished_leaves_the_earlier_one(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(FileError, match="a: cannot be written"), files.replacing_folder(tmp_path / "a") as folder:
        (folder / "half").touch()
        full()
    assert os.listdir(tmp_path) == ["a"]


def test_an_output_on_a_full_disk_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    with pytest.raises(FileError, match=r"--output=.*may not be written \(No space left"):
        files.check_output(str(tmp_path / "a.png"), "output")


def test_the_probe_of_a_killed_process_goes_with_the_next_one(tmp_path):
    left = tmp_path / ".999999999.probe"
    left.write_bytes(b"0")
    files.check_output(str(tmp_path / "a.png"), "output")
    assert not left.exists()


def test_room_on_the_disk_is_tried_to_the_last_byte(tmp_path):
    files.reserve(tmp_path / "new", 3_000_000)
    assert (tmp_path / "new").stat().st_size == 3_000_000


def test_only_what_killed_processes_left_of_a_file_is_removed(tmp_path):
    kept = ["a.png", f".{GONE}.b.png", f".{os.getppid()}.a.png", ".hidden.a.png", ".12x.a.png"]
    for name in (*kept, f".{GONE}.a.png", f".{os.getpid()}.a.png"):
        (tmp_path / name).touch()
    (tmp_path / f".{GONE}.a.png.earlier").mkdir()
    files.check_output(str(tmp_path / "a.png"), "output")
    assert sorted(os.listdir(tmp_path)) == sorted(kept)


def test_a_folder_that_was_moved_aside_when_its_replacement_was_killed_comes_back(tmp_path):
    aside = tmp_path / f".{GONE}.export.earlier"
    aside.mkdir()
    (aside / "model").touch()
    (tmp_path / f".{GONE}.export").mkdir()
    files.remove_leftovers(tmp_path, "export")
    assert os.listdir(tmp_path) == ["export"]
    assert (tmp_path / "export" / "model").exists()


@pytest.mark.parametrize("text", ["{}", "[]", '{"step": "7"}', '{"step": true}', '{"step": 1.5}', "{", "[" * 100_000])
def test_a_record_without_what_it_must_have_is_named(text, tmp_path):
    (tmp_path / "best.json").write_text(text)
    with pytest.raises(FileError, match=r"best\.json"):
        files.read_record(tmp_path / "best.json", {"step": int})
