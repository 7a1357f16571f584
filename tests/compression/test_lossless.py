"""Compression restores every image bit for bit, in as many bits as the model's bound says, or refuses."""

import binascii
import dataclasses
import functools
import pathlib

import models
import numpy as np
import pytest
import tiny

from pixelvae_tf.compression import container, lossless
from pixelvae_tf.compression.codec import group_sizes
from pixelvae_tf.compression.lossless import Compressor
from pixelvae_tf.compression.walk import PixelWalk
from pixelvae_tf.errors import UserError
from pixelvae_tf.files import FileError

PATH = pathlib.Path("some.pvae")
WITHOUT_LATENTS = dataclasses.replace(tiny.BINARY, latent_channels=(), image_shape=(4, 5, 1))
# A network, and images with the batch size.
CASES = {
    "no latents": (lambda: tiny.shared_model(WITHOUT_LATENTS), 150, 32),
    "no latents, one image": (lambda: tiny.shared_model(WITHOUT_LATENTS), 1, 32),
    "one level": (lambda: tiny.shared_model(), 100, 16),
    "one level, one image": (lambda: tiny.shared_model(), 1, 1),
    "independent pixels": (lambda: tiny.shared_model(conditioning="maps", pixelcnn_layers=0, gain=1.0), 40, 16),
    "logistics": (lambda: tiny.shared_model(tiny.COLOR, output_distribution="logistics"), 40, 16),
    "a flow": (lambda: tiny.shared_model(latent_channels=(3,), prior="flow", prior_channels=8), 100, 16),
    "two levels of maps": (lambda: models.shared_model(models.COLOR, **models.VARIANTS["two levels of maps"]), 30, 8),
    "Gaussian prior": (lambda: models.shared_model(**models.VARIANTS["Gaussian prior"]), 30, 8),
    "classes": (lambda: tiny.shared_model(WITHOUT_LATENTS, num_classes=3), 100, 16),
    "classes, two levels and a flow": (
        lambda: models.shared_model(
            models.COLOR,
            latent_channels=(1, 2),
            latent_strides=(2, 0),
            num_classes=3,
            prior="flow",
            prior_couplings=2,
            prior_channels=8,
        ),
        40,
        8,
    ),
}


def some_images(model, count: int) -> np.ndarray:
    """Images of the model, of all of its classes, and one that is nothing like them."""
    classes = model.config.num_classes
    images = np.array(model.sample(count, seed=1, label=np.arange(count) % classes if classes else None))
    images[-1] = models.some_images(model.config, 1)[0]
    return images


def restored(compressor: Compressor, data: bytes, **options) -> np.ndarray:
    return compressor.decompress(container.unpack(data, PATH), PATH, **options)


def best_labels(model, images: np.ndarray) -> np.ndarray | None:
    """The class by which each image is likeliest, if the model has any."""
    bounds = [model.elbo(images, 0, label).elbo for label in range(model.config.num_classes)]
    return np.argmax(bounds, axis=0) if bounds else None


def test_each_image_is_coded_as_one_of_the_class_that_makes_it_likeliest():
    model = tiny.shared_model(WITHOUT_LATENTS, num_classes=3)
    images = some_images(model, 60)
    best = best_labels(model, images)
    assert len(set(best)) == 3
    bits = -model.elbo(images, 0, best).elbo.astype("float64").sum() / np.log(2) + len(images) * np.log2(3)
    record = Compressor(model).compress(images, batch_size=16).record
    assert record["ideal_bits_per_dim"] == pytest.approx(bits / images.size, rel=1e-5)


@functools.cache
def of_pixels() -> Compressor:
    """For the model without latents, whose graphs are traced quickly."""
    return Compressor(tiny.shared_model(WITHOUT_LATENTS))


# The last one has all of the machinery of the four that `make exhaustive` takes.
@pytest.mark.parametrize(
    "case", models.few(CASES, CASES.keys() - {"a flow", "two levels of maps", "Gaussian prior", "classes"})
)
def test_images_are_restored_bit_for_bit_and_take_the_bits_of_the_bound(case):
    make, count, batch_size = CASES[case]
    model = make()
    images = some_images(model, count)
    compressor = Compressor(model)
    compressed = compressor.compress(images, batch_size=batch_size)
    again = restored(compressor, compressed.data)
    assert again.dtype == np.uint8
    np.testing.assert_array_equal(again, images)
    # The code is that of one sample of the latents of each image.
    label = best_labels(model, images)
    ideal = np.stack([-model.elbo(images, seed, label).elbo for seed in range(20)]).astype("float64") / np.log(2)
    ideal += np.log2(max(model.config.num_classes, 1))
    noise = 4 * ideal.std(axis=0).mean() * count**0.5
    record = compressed.record
    used = 8 * (record["bytes"] - record["header_bytes"]) - record["initial_bits"]
    # The words are whole, and the last two hold the state of the coder.
    assert used <= 1.01 * ideal.mean(axis=0).sum() + noise + 3 * 32
    if not model.config.num_levels:
        assert used >= ideal.mean(axis=0).sum()
    assert record["bits_per_dim"] == pytest.approx(8 * len(compressed.data) / images.size)
    assert record["header_bytes"] <= 44


@pytest.mark.as_in_production
def test_images_are_restored_by_the_compiled_steps_in_several_parts(monkeypatch):
    monkeypatch.setattr(lossless, "_GROUPS_A_PART", 2)
    compressor = Compressor(tiny.shared_model())
    images = some_images(compressor.model, 50)
    compressed = compressor.compress(images, batch_size=4, parts=3)
    assert compressed.record["parts"] == 3
    np.testing.assert_array_equal(restored(compressor, compressed.data), images)


def test_groups_hold_all_images_and_begin_with_one_where_there_are_latents():
    generator = np.random.default_rng(0)
    for _ in range(200):
        images, batch_size = (int(number) for number in generator.integers(1, 400, size=2))
        growth = float(generator.choice([1 / 64, 0.3, 3.9]))
        sizes = group_sizes(images, batch_size, growth)
        assert sum(sizes) == images and max(sizes) <= batch_size and sizes[0] == 1
        for index, size in enumerate(sizes):
            assert 1 <= size <= 1 + growth * sum(sizes[:index])
        assert group_sizes(images, batch_size, None)[:-1] == [batch_size] * ((images - 1) // batch_size)


def test_another_model_and_other_weights_of_the_same_are_refused():
    images = some_images(of_pixels().model, 5)
    data = of_pixels().compress(images).data
    same = tiny.model(WITHOUT_LATENTS)
    np.testing.assert_array_equal(restored(Compressor(same), data), images)
    values = same.weights[0].numpy()
    values.flat[0] = np.nextafter(values.flat[0], np.inf)
    same.weights[0].assign(values)
    for other in (same, tiny.shared_model(WITHOUT_LATENTS, kernel_size=5), tiny.shared_model()):
        with pytest.raises(FileError, match="some.pvae: compressed with another model"):
            restored(Compressor(other), data)


def test_bits_that_were_altered_with_their_checksum_give_no_image():
    """As on a machine that computes other probabilities later on: only the checksum of the images can tell."""
    data = of_pixels().compress(some_images(of_pixels().model, 40), batch_size=40).data
    for at in range(-30, -5):
        body = bytearray(data[:-4])
        body[at] ^= 1
        altered = bytes(body) + binascii.crc32(body).to_bytes(4, "little")
        with pytest.raises(FileError, match="other probabilities"):
            restored(of_pixels(), altered)


def test_other_probabilities_are_noticed_with_the_first_group(monkeypatch):
    data = of_pixels().compress(some_images(of_pixels().model, 30), batch_size=10).data
    own = PixelWalk.shown
    monkeypatch.setattr(PixelWalk, "shown", lambda self, parameters: own(self, parameters * (1 + 2**-22)))
    groups = []
    with pytest.raises(FileError, match="other probabilities"):
        restored(Compressor(of_pixels().model), data, on_group=groups.append)
    assert groups == []


def test_what_cannot_be_compressed_is_refused_by_name():
    with pytest.raises(UserError, match="shape"):
        of_pixels().compress(np.zeros((3, 4, 4, 1), "uint8"))
    with pytest.raises(UserError, match="0..1"):
        of_pixels().compress(np.full((3, *WITHOUT_LATENTS.image_shape), 2))
    with pytest.raises(UserError, match="one or more"):
        of_pixels().compress(np.zeros((0, *WITHOUT_LATENTS.image_shape), "uint8"))
