"""How tests prepare ImageNet, and what they look at."""

import pytest
from fakes import pictures

from pixelvae_tf.data import DataError
from pixelvae_tf.data.preparation import imagenet

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
