"""Small images, archives and databases in the formats that users have, made anew for every test."""

import io
import tarfile

import numpy as np
from PIL import Image


def pictures(count, size=64, seed=0):
    """Smooth random photographs, (count, size, size, 3) uint8, none like another."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 6, 6, 3), np.uint8)
    return np.stack([np.asarray(Image.fromarray(image).resize((size, size), Image.BICUBIC)) for image in coarse])


def encoded(image, format="PNG", **options):
    """An image file's bytes."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format, **options)
    return buffer.getvalue()


def write_tar(path, members, mode="w"):
    """A tar archive of (name, bytes)."""
    with tarfile.open(path, mode) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def small_imagenet(path, images, split="train"):
    """An archive laid out like van den Oord's."""
    members = [(f"{split}_64x64/{index + 1:07d}.png", encoded(image)) for index, image in enumerate(images)]
    return write_tar(path, members)


def write_lmdb(folder, records):
    """A database as LSUN's: keys and image files."""
    import lmdb

    folder.mkdir(parents=True)
    with lmdb.open(str(folder), map_size=1 << 26) as environment, environment.begin(write=True) as transaction:
        for key, value in records:
            transaction.put(key.encode(), value)
    return folder
