"""Damaged archives of every kind are told by name and place: nothing is lost in silence, and nothing is made up."""

import bz2
import gzip
import io
import lzma
import pickle
import signal
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from fakes import encoded, pictures, write_lmdb, write_tar

from pixelvae_tf.data import DataError
from pixelvae_tf.data.preparation import archives, chrabaszcz, lmdb_reader, lsun
from pixelvae_tf.data.preparation.problems import Problems
from pixelvae_tf.errors import UserError

IMAGES = [(f"a/{index}.png", encoded(image)) for index, image in enumerate(pictures(6, 16))]


@pytest.fixture
def tar(tmp_path):
    return write_tar(tmp_path / "a.tar", IMAGES)


def read(path, on_error="fail"):
    problems = Problems(on_error)
    return list(archives.read_tar(path, problems)), problems


def headers(content):
    return [at for at in range(0, len(content), 512) if content[at + 257 : at + 262] == b"ustar"]


def flip(content, at):
    content[at] ^= 1


def zero(content, at):
    content[at : at + 512] = bytes(512)


def zero_four_blocks(content, at):
    content[at : at + 2048] = bytes(2048)


@pytest.mark.parametrize("damage", [lambda c, at: flip(c, at + 20), zero, zero_four_blocks])
@pytest.mark.parametrize("wrap", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_damaged_or_lost_header_is_no_end(damage, wrap, tar):
    content = bytearray(tar.read_bytes())
    place = headers(content)[3]
    damage(content, place)
    tar.write_bytes(wrap(bytes(content)))
    with pytest.raises(DataError, match=rf"a\.tar: damaged .*at byte {place:,}"):
        read(tar)
    found, problems = read(tar, "skip")
    assert [name for name, _ in found] == [name for name, _ in IMAGES[:3]]
    assert problems.count == 1


@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
def test_a_whole_archive_is_read_whole(wrap, tar):
    tar.write_bytes(wrap(tar.read_bytes()))
    assert read(tar)[0] == IMAGES


@pytest.mark.parametrize("wrap", [gzip.compress, bz2.compress, lzma.compress])
def test_the_checksum_of_a_compressed_archive_is_checked(wrap, tar):
    whole = wrap(tar.read_bytes())
    for at in (-8, len(whole) // 2):
        content = bytearray(whole)
        content[at] ^= 1
        tar.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.tar: "):
            read(tar)


def test_a_compressed_archive_without_an_end_is_cut_short(tar):
    content = tar.read_bytes()
    tar.write_bytes(gzip.compress(content.rstrip(b"\0")[: headers(content)[-1]]))
    with pytest.raises(DataError, match="the end of the archive is missing"):
        read(tar)


def test_damage_in_an_archive_in_the_archive_names_it_and_spares_the_others(tmp_path):
    inner = bytearray(write_tar(tmp_path / "inner.tar", IMAGES).read_bytes())
    whole = bytes(inner)
    flip(inner, headers(inner)[2] + 20)
    outer = write_tar(tmp_path / "outer.tar", [("bad.tar", bytes(inner)), ("good.tar", whole)])
    with pytest.raises(DataError, match=r"outer\.tar: bad\.tar: damaged"):
        read(outer)
    found, problems = read(outer, "skip")
    assert len(found) == 2 + 6
    assert problems.count == 1


def test_a_member_that_claims_a_terabyte_is_not_read(tmp_path):
    header = bytearray(tarfile.TarInfo("big.png").tobuf(tarfile.GNU_FORMAT))
    header[156] = ord("S")
    header[483:495] = b"\x80" + (1 << 40).to_bytes(11, "big")
    header[386:398] = header[398:410] = b"00000000000\0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    for name in (b"big.png", b"big.tar"):
        member = bytearray(header)
        member[:100] = name.ljust(100, b"\0")
        member[148:156] = b" " * 8
        member[148:156] = b"%06o\0 " % sum(member)
        path = tmp_path / "a.tar"
        path.write_bytes(bytes(member) + bytes(1024))
        with pytest.raises(DataError, match="claims 1099.5 GB|stored with holes"):
            read(path)


def test_archives_in_each_other_without_end_are_refused(tmp_path):
    path = write_tar(tmp_path / "a.tar", IMAGES[:1])
    for _ in range(12):
        path = write_tar(tmp_path / "b.tar", [("a.tar", path.read_bytes())])
    with pytest.raises(DataError, match="deeper than 8 archives"):
        read(path)


def zip_of(entries):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return bytearray(file.getvalue())


def encrypted(content):
    content[content.find(b"PK\1\2") + 8] |= 1


def of_method_99(content):
    at = content.find(b"PK\1\2")
    content[at + 10 : at + 12] = struct.pack("<H", 99)


def large(content):
    at = content.find(b"PK\1\2")
    content[at + 24 : at + 28] = struct.pack("<I", 0xFFFFFFF0)


def garbled(content):
    content[60:200] = b"\xff" * 140


@pytest.mark.parametrize("damage", [encrypted, of_method_99, large, garbled])
def test_entries_of_a_zip_that_cannot_be_read_are_told(damage, tmp_path):
    path = tmp_path / "a.zip"
    content = zip_of(IMAGES[:2])
    damage(content)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.zip"):
        list(archives.read_zip(path, Problems("fail")))
    batch = pickle.dumps({"data": np.random.default_rng(0).integers(0, 256, (3, 12288), np.uint8)}, 2)
    content = zip_of([("train_data_batch_1", batch)])
    damage(content)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.zip"):
        list(chrabaszcz.read_batches(path, Problems("fail")))


def test_the_checksum_of_a_batch_in_a_zip_is_checked(tmp_path):
    path = tmp_path / "a.zip"
    content = zip_of([("train_data_batch_1", pickle.dumps(BATCH, 2))])
    for at in (content.find(b"PK\1\2") + 16, 14):
        content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="Bad CRC-32"):
        list(chrabaszcz.read_batches(path, Problems("fail")))


BATCH = {"data": np.arange(2 * 12288, dtype=np.uint32).astype(np.uint8).reshape(2, -1), "labels": [1, 2], "mean": None}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_read_from_pickles_of_every_protocol(protocol, order):
    batch = {**BATCH, "data": np.array(BATCH["data"], order=order), "mean": np.linspace(0, 1, 7)}
    found = chrabaszcz.ArrayUnpickler(io.BytesIO(pickle.dumps(batch, protocol)), encoding="latin1").load()
    np.testing.assert_array_equal(found["data"].array, batch["data"])
    np.testing.assert_array_equal(found["mean"].array, batch["mean"])
    assert found["labels"] == [1, 2]


KEY = b"\x80\x02}X\x04\x00\x00\x00data"


@pytest.mark.parametrize(
    "crafted",
    [
        # numpy.ndarray((20, 12288), "u1"): whatever the memory holds.
        KEY + b"cnumpy\nndarray\nK\x14M\x000\x86X\x02\x00\x00\x00u1\x86Rs.",
        KEY + b"cnumpy\nndarray\nK\x14M\x000\x86X\x02\x00\x00\x00u1\x86\x81s.",
        # numpy's own function for it, asked for more than nothing.
        KEY + b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x14M\x000\x86C\x02u1\x87Rs.",
        KEY + b"cnumpy\ndtype\nX\x01\x00\x00\x00O\x85Rs.",
        KEY + b"cnumpy\ndtype\nX\x0b\x00\x00\x00(99999999,)\x85Rs.",
        KEY + b"cos\nsystem\nX\x04\x00\x00\x00true\x85Rs.",
    ],
)
def test_a_pickle_has_no_array_but_one_whose_numbers_it_holds(crafted, tmp_path):
    path = tmp_path / "train_data_batch_1"
    path.write_bytes(crafted)
    with pytest.raises(DataError, match="not a readable batch"):
        list(chrabaszcz.read_batches(path, Problems("fail")))


@pytest.fixture(scope="module")
def lmdb_file(tmp_path_factory):
    records = [(f"{index:04d}", bytes([index % 251]) * 900) for index in range(200)]
    return (write_lmdb(tmp_path_factory.mktemp("lmdb") / "a", records) / "data.mdb").read_bytes()


def leaves(content):
    pages = range(2, len(content) // 4096)
    return [page for page in pages if struct.unpack_from("<H", content, page * 4096 + 10)[0] & 2]


def value_size(content):
    page = leaves(content)[2] * 4096
    node = page + struct.unpack_from("<H", content, page + 16)[0]
    content[node + 2] ^= 0x40


def swapped(content):
    first, second = leaves(content)[2:4]
    pages = [content[page * 4096 : (page + 1) * 4096] for page in (first, second)]
    content[first * 4096 : (first + 1) * 4096], content[second * 4096 : (second + 1) * 4096] = pages[::-1]


def zeroed(content):
    page = leaves(content)[2]
    content[page * 4096 : (page + 1) * 4096] = bytes(4096)


@pytest.mark.parametrize("damage", [swapped, zeroed, value_size])
def test_a_damaged_page_of_a_database_is_told(damage, lmdb_file, tmp_path):
    content = bytearray(lmdb_file)
    damage(content)
    (tmp_path / "data.mdb").write_bytes(content)
    with lsun.opened(tmp_path) as database:
        with pytest.raises(DataError, match="--lmdb=.* damaged"):
            list(database)
        problems = Problems("skip")
        found = list(database.read(problems))
        assert problems.count == 1 and len(found) < 200


def test_a_whole_database_is_read_whole(lmdb_file, tmp_path):
    (tmp_path / "data.mdb").write_bytes(lmdb_file)
    with lsun.opened(tmp_path) as database:
        assert dict(database) == {f"{index:04d}": bytes([index % 251]) * 900 for index in range(200)}


def test_a_reader_that_dies_is_told_by_its_signal(tmp_path):
    class Killed:
        exitcode = -signal.SIGBUS

        def join(self):
            pass

    class Empty:
        def recv(self):
            raise EOFError

    assert lmdb_reader._received(Empty(), Killed())[0].reason == "the process that read it ended by SIGBUS"


def test_a_zip_archive_in_place_of_a_database_is_told(tmp_path):
    path = tmp_path / "bedroom.zip"
    path.write_bytes(zip_of(IMAGES))
    with pytest.raises(DataError, match="is a ZIP archive; unpack it"), lsun.opened(path):
        pass
