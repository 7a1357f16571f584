"""Prepares LSUN's databases (LMDB with photographs in WebP or JPEG) at 64x64 or 32x32, optionally deduplicated."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

from pixelvae_tf.data import pixels
from pixelvae_tf.data.preparation import collisions, lmdb_reader
from pixelvae_tf.data.preparation.conversion import converted
from pixelvae_tf.data.preparation.memory import PeakMemory
from pixelvae_tf.data.preparation.problems import Problems
from pixelvae_tf.data.preparation.writer import Target, check_target, checked_input, checked_output, write_split
from pixelvae_tf.data.schema import DataError

DEFAULT_TOLERANCE = 2
_FULL_SIZE = 64
_DESCRIPTION = "Central squares of LSUN's photographs, every pixel the mean of the area it covers."


@dataclasses.dataclass(frozen=True)
class LsunRequest:
    """What to prepare.

    Attributes:
        lmdb: folder of the database, as unpacked from LSUN's archives.
        output: the folder to name as --data_dir in training.
        split: "train", "validation" or "test".
        image_size: 64; or 32, by rounded 2x2 means.
        deduplicate: whether to remove near-duplicates.
        tolerance: the most bits, of 128, in which the codes of duplicates may differ.
        autoencoder_steps: training steps of the autoencoder that makes the codes; 0 for one pass over the images.
        seed: seed of that training.
        on_error: "fail" or "skip".
    """

    lmdb: str
    output: str
    split: str
    image_size: int = 64
    deduplicate: bool = False
    tolerance: int = DEFAULT_TOLERANCE
    autoencoder_steps: int = 0
    seed: int = 0
    on_error: str = "fail"


def check(request: LsunRequest) -> tuple[pathlib.Path, pathlib.Path]:
    """Returns the database and the output after quick checks. Raises DataError if they cannot be used."""
    path, output = checked_input(request.lmdb, "lmdb"), checked_output(request.output)
    if not 0 <= request.tolerance <= collisions.MAX_TOLERANCE:
        raise DataError(f"--tolerance={request.tolerance}: use 0 to {collisions.MAX_TOLERANCE}")
    with opened(path):
        return path, output


def prepare(request: LsunRequest, on_image: Callable[[], Any] = lambda: None) -> dict[str, Any]:
    """Prepares a split and returns its summary.

    Args:
        request: what to prepare.
        on_image: called whenever an image is decoded: once for each, or twice with `deduplicate`.

    Raises:
        DataError: for a database that cannot be used, or an output that cannot be written.
    """
    started = time.monotonic()
    path, output = check(request)
    target = Target(output, "lsun_bedroom", request.split, request.image_size, "center-area", _DESCRIPTION)
    check_target(target)
    problems = Problems(request.on_error)
    record = {"source": path.name, "deduplicated": request.deduplicate}
    files = {}
    with PeakMemory() as memory, opened(path) as database:
        removed = {}
        if request.deduplicate:
            removed = find_duplicates(database, request, output, on_image)
            record |= {"removed": len(removed), "tolerance": request.tolerance}
            files[_table_name(request)] = _table(removed)
        records = ((key, value) for key, value in database.read(problems) if key not in removed)
        geometry = pixels.Geometry(request.image_size, halve=request.image_size * 2 == _FULL_SIZE)
        images = converted(records, geometry, path, problems)
        count = write_split(target, images, lambda: {**record, **problems.record()}, on_image, files)
    seconds = time.monotonic() - started
    if request.deduplicate:
        record["removed_keys"] = str(target.folder / _table_name(request))
    return {
        "dataset": target.dataset,
        "split": request.split,
        "variant": target.variant,
        "image_size": request.image_size,
        "images": count,
        **record,
        **problems.record(),
        "folder": str(target.folder),
        "seconds": round(seconds, 1),
        "images_per_second": round((count + len(removed)) / seconds),
        "peak_memory_mib": memory.mib,
    }


class Database:
    """The keys and values of an LMDB in the order of the keys; can be iterated more than once.

    Args:
        path: the folder or the file of the database.
        entries: the number of pairs that the database claims.
    """

    def __init__(self, path: pathlib.Path, entries: int):
        self.path = path
        self._entries = entries

    def __len__(self) -> int:
        return self._entries

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        """Yields all pairs. Raises DataError if the database is damaged."""
        return self.read(Problems("fail"))

    def read(self, problems: Problems) -> Iterator[tuple[str, bytes]]:
        """Yields all readable pairs, then reports any damage as a problem."""
        count = 0
        for record in lmdb_reader.records(self.path):
            if isinstance(record, lmdb_reader.Damage):
                problems.report(
                    f"--lmdb={self.path}", f"damaged behind image {count:,} of {len(self):,} ({record.reason})"
                )
                return
            count += 1
            yield record
        if count != len(self):
            problems.report(f"--lmdb={self.path}", f"damaged: it has {count:,} images, where it says {len(self):,}")


@contextlib.contextmanager
def opened(path: pathlib.Path) -> Iterator[Database]:
    """Opens an LMDB for reading. Raises DataError if it is not an LMDB, empty or cut short."""
    import lmdb

    file = path / "data.mdb" if path.is_dir() else path
    if not file.is_file():
        raise DataError(f"--lmdb={path}: holds no data.mdb; name the folder that LSUN's archive unpacks to")
    if zipfile.is_zipfile(file):
        raise DataError(f"--lmdb={path}: is a ZIP archive; unpack it and name the folder that holds data.mdb")
    try:
        with lmdb.open(str(path), readonly=True, lock=False, subdir=path.is_dir(), create=False) as environment:
            pages, entries = environment.info()["last_pgno"] + 1, environment.stat()["entries"]
            size = pages * environment.stat()["psize"]
    except lmdb.Error as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise DataError(f"--lmdb={path}: {file.name} is no LMDB database ({reason})") from None
    if size > file.stat().st_size:
        raise DataError(f"--lmdb={path}: {file.name} is cut short; restore it")
    if not entries:
        raise DataError(f"--lmdb={path}: {file.name} holds no images")
    yield Database(path, entries)


def find_duplicates(
    database: Database, request: LsunRequest, output: pathlib.Path, on_image: Callable[[], Any]
) -> dict[str, tuple[str, int]]:
    """Finds near-duplicates by the semantic hash. Maps each key to remove to the key it duplicates and their distance.

    The 32x32 images go through a file (9 GB for 3 million) and the codes stay in memory (48 MB). The preparation that
    follows reports unreadable images.
    """
    from pixelvae_tf.data.preparation import autoencoder

    folder = output / f".lsun_bedroom-{request.split}.thumbnails"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        thumbnails, keys = folder / "thumbnails", []
        with thumbnails.open("wb") as file:
            geometry, problems = pixels.Geometry(autoencoder.SIZE), Problems(request.on_error)
            images = converted(database.read(problems), geometry, request.lmdb, problems)
            for key, image in images:
                file.write(image.tobytes())
                keys.append(key)
                on_image()
        if not keys:
            return {}
        layer = autoencoder.train(thumbnails, len(keys), steps=request.autoencoder_steps, seed=request.seed)
        codes = autoencoder.codes(layer, thumbnails)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found = collisions.find_collisions(codes, request.tolerance)
    return {keys[pair.removed]: (keys[pair.kept], pair.distance) for pair in found}


def _table_name(request: LsunRequest) -> str:
    return f"removed-{request.split}.tsv"


def _table(removed: dict[str, tuple[str, int]]) -> str:
    rows = ["removed\tcollides_with\tbits_apart"]
    rows += [f"{key}\t{kept}\t{distance}" for key, (kept, distance) in removed.items()]
    return "\n".join(rows) + "\n"
