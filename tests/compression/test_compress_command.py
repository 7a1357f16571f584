"""The commands: a folder comes back with its names from another process, and one line for what cannot be done."""

import json
import os

import numpy as np
import pytest
import workdirs
from commands import ROOT, error_line, run
from PIL import Image

from pixelvae_tf import data
from pixelvae_tf.config import DataConfig
from pixelvae_tf.evaluation import pictures


@pytest.fixture(scope="module")
def digits():
    """Seven test digits, (7, 8, 8, 1) of 17 levels."""
    return next(iter(data.evaluation_batches(DataConfig(dataset="digits"), "test", batch_size=7))).numpy()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The flag for a small model of digits."""
    return f"--workdir={workdirs.with_weights(tmp_path_factory.mktemp('run') / 'digits')}"


@pytest.fixture(scope="module")
def compressed(digits, model, tmp_path_factory):
    """A folder with a file of compressed digits, and the folder of pictures that it was made of."""
    folder = tmp_path_factory.mktemp("compressed")
    names = ["b.png", "a/b.png", "a/c.bmp", "d.png", "e.png", "f.png", "g.png"]
    pictures.save_each(folder / "given", names, digits, 17)
    Image.open(folder / "given/a/c.bmp").save(folder / "given/a/c.bmp", format="BMP")
    result = run("compress", model, f"--input={folder / 'given'}", f"--output={folder / 'some.pvae'}")
    assert (result.returncode, result.stderr) == (0, "")
    record = json.loads(result.stdout)
    assert record["num_images"] == 7
    assert record["bytes"] == (folder / "some.pvae").stat().st_size
    assert record["bits_per_dim"] == pytest.approx(8 * record["bytes"] / (7 * 64))
    assert record["ideal_bits_per_dim"] < record["bits_per_dim"]
    return folder


@pytest.mark.as_in_production
def test_a_folder_is_restored_by_another_process_with_the_names_of_its_images(compressed, model):
    output = compressed / "restored"
    result = run("decompress", model, f"--input={compressed / 'some.pvae'}", f"--output={output}")
    assert (result.returncode, result.stderr) == (0, "")
    found = sorted(str(path.relative_to(output)) for path in output.rglob("*") if path.is_file())
    assert found == sorted(["b.png", "a/b.png", "a/c.bmp.png", "d.png", "e.png", "f.png", "g.png"])
    for name in found:
        given = compressed / "given" / name.replace(".bmp.png", ".bmp")
        np.testing.assert_array_equal(np.asarray(Image.open(output / name)), np.asarray(Image.open(given)))


def test_an_array_is_restored_as_an_array(digits, tmp_path, model):
    np.save(tmp_path / "given.npy", digits[:3].astype("int64"))
    flags = (model, f"--output={tmp_path / 'a.pvae'}", "--max_examples=2")
    assert run("compress", *flags, f"--input={tmp_path / 'given.npy'}").returncode == 0
    result = run("decompress", model, f"--input={tmp_path / 'a.pvae'}", f"--output={tmp_path / 'restored.npy'}")
    assert result.stdout == f"2 images in {tmp_path / 'restored.npy'}\n"
    np.testing.assert_array_equal(np.load(tmp_path / "restored.npy"), digits[:2])


def test_what_cannot_be_restored_ends_with_one_line_and_writes_nothing(compressed, tmp_path, model):
    data = (compressed / "some.pvae").read_bytes()
    (tmp_path / "short.pvae").write_bytes(data[:-9])
    (tmp_path / "letter.pvae").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/letter.txt").write_text("mine")
    some = f"--input={compressed / 'some.pvae'}"
    for flags, expected in (
        ([f"--input={tmp_path / 'short.pvae'}", "--output=new"], "short.pvae: truncated or altered"),
        ([f"--input={tmp_path / 'letter.pvae'}", "--output=new"], "letter.pvae: not a file of compressed images"),
        (["--input=absent", "--output=new"], "--input=absent: cannot be read"),
        ([some, "--output=full"], "--output=full: is not empty"),
        ([some, "--output=full/letter.txt"], "--output=full/letter.txt: is a file"),
        ([some, "--output=absent/new"], "does not exist"),
        ([some, "--output="], "--output is empty"),
    ):
        assert expected in error_line(run("decompress", model, *flags, cwd=tmp_path))
    other = workdirs.with_weights(tmp_path / "other", seed=1)
    line = error_line(run("decompress", f"--workdir={other}", some, "--output=new", cwd=tmp_path))
    assert "some.pvae: compressed with another model" in line
    assert not (tmp_path / "new").exists()


def test_what_cannot_be_compressed_ends_with_one_line_and_writes_nothing(model, tmp_path):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "red.png")
    Image.new("L", (9, 8)).save(tmp_path / "wide.png")
    np.savez(tmp_path / "several.npy", a=np.zeros(2))
    os.rename(tmp_path / "several.npy.npz", tmp_path / "several.npy")
    for flags, expected in (
        (["--input=red.png"], "red.png: has colors"),
        (["--input=wide.png"], "wide.png: 9 wide and 8 high"),
        (["--input=several.npy"], "several.npy: holds several arrays"),
        (["--input=absent.npy"], "absent.npy: cannot be read"),
        (["--input=red.png", "--split=test"], "--input: replaces a split"),
    ):
        line = error_line(run("compress", model, "--output=a.pvae", *flags, cwd=tmp_path))
        assert expected in line
    assert not (tmp_path / "a.pvae").exists()


@pytest.mark.parametrize("command", ["compress", "decompress"])
def test_without_the_library_one_line_names_the_extra(command, compressed, tmp_path, model):
    (tmp_path / "constriction.py").write_text("raise ImportError\n")
    flags = {"compress": ["--split=test"], "decompress": [f"--input={compressed / 'some.pvae'}"]}[command]
    (tmp_path / "pixelvae_tf").symlink_to(ROOT / "pixelvae_tf")
    result = run(command, model, *flags, "--output=new", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert "pip install '.[compression]'" in error_line(result)
