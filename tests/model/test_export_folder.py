"""The folder of an export: whole or absent, and nothing of the user's is lost."""

import dataclasses
import json
import os
import re

import numpy as np
import pytest
import tensorflow as tf
import tiny
from commands import error_line, run

from pixelvae_tf import RunConfig, files
from pixelvae_tf.model import serving
from pixelvae_tf.runs.workdir import Run

# As little to trace as there can be: these tests are of the folder.
SMALLEST = dataclasses.replace(tiny.LEAST, latent_channels=())


def test_an_earlier_export_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    folder = tmp_path / "export"
    serving.export(tiny.model(SMALLEST), folder, {"step": 1}, keras_file=True)
    serving.export(tiny.model(SMALLEST, seed=1), serving.check_output(str(folder)), {})
    loaded = tf.saved_model.load(str(folder))
    assert os.listdir(tmp_path) == ["export"]
    assert not (folder / "model.keras").exists()
    np.testing.assert_array_equal(loaded.sample(40, 1)["images"], tiny.model(SMALLEST, seed=1).sample(40, seed=1))


@pytest.mark.parametrize("error", [KeyboardInterrupt, pytest.param(OSError, marks=pytest.mark.exhaustive)])
def test_an_export_that_fails_at_its_end_leaves_the_earlier_one_and_never_looked_whole(error, tmp_path, monkeypatch):
    folder = tmp_path / "1"
    folder.mkdir()
    (folder / "export.json").write_text(json.dumps({"format": "pixelvae_tf SavedModel", "step": 1}))

    def fail(*_):
        # This is what a killed process would leave: TensorFlow Serving looks for numbers, this package for a record.
        (unfinished,) = set(tmp_path.iterdir()) - {folder}
        assert (unfinished / "saved_model.pb").exists()
        assert not unfinished.name.isdigit()
        assert not (unfinished / "export.json").exists()
        raise error

    monkeypatch.setattr(serving.files, "write_json", fail)
    with pytest.raises(error):
        serving.export(tiny.model(SMALLEST), folder, {"step": 2})
    assert os.listdir(tmp_path) == ["1"]
    assert files.read_json(folder / "export.json")["step"] == 1


WRONG_OUTPUTS = {
    "nothing": ("", "--output is empty"),
    "a file": ("file", "is a file"),
    "under a file": ("file/1", "is a file"),
    "a folder with something else": ("other", "is not empty and holds no export"),
    "a folder with some other SavedModel": ("saved_model", "is not empty and holds no export"),
    "an export with something added": ("added", "'notes.txt'.*would be lost"),
    "the work directory": (".", "is not empty and holds no export"),
}


@pytest.mark.parametrize("case", WRONG_OUTPUTS)
def test_an_output_that_is_no_export_is_refused_in_one_line(case, tmp_path, monkeypatch):
    for name in ("other/letter.txt", "saved_model/saved_model.pb", "added/notes.txt", "file"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    (tmp_path / "other" / "export.json").write_text('{"format": "mp3"}')
    (tmp_path / "added" / "export.json").write_text('{"format": "pixelvae_tf SavedModel"}')
    monkeypatch.chdir(tmp_path)
    path, message = WRONG_OUTPUTS[case]
    with pytest.raises(files.FileError, match=message) as error:
        serving.check_output(path)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(files.FileError, match="may not be written"):
        serving.check_output(str(tmp_path / "models" / "1"))


@pytest.mark.parametrize("made", ["absent", "empty", "link to a folder that is empty"])
def test_a_new_or_empty_folder_is_taken_and_a_link_is_followed(made, tmp_path):
    target = tmp_path / "target"
    path = target
    if made != "absent":
        target.mkdir()
    if made.startswith("link"):
        path = tmp_path / "link"
        path.symlink_to(target)
    assert serving.check_output(str(path)) == target.resolve()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--workdir=untrained", "--output=export"], "untrained.*no weights yet"),
        (["--workdir=untrained", "--output=untrained"], "untrained.*holds no export"),
    ],
)
def test_the_command_tells_what_is_wrong_in_one_line_and_writes_nothing(flags, message, tmp_path):
    Run(tmp_path / "untrained").claim(RunConfig(model=tiny.BINARY))
    before = sorted(tmp_path.rglob("*"))
    assert re.search(message, error_line(run("export", *flags, cwd=tmp_path)))
    assert sorted(tmp_path.rglob("*")) == before
