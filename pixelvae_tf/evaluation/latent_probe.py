"""Features to probe (latents of a model, pixels or their principal components), and records of probes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pixelvae_tf import data
from pixelvae_tf.config import DataConfig
from pixelvae_tf.data.schema import SPLITS
from pixelvae_tf.evaluation import probing
from pixelvae_tf.evaluation.likelihood import evaluate
from pixelvae_tf.evaluation.probing import Labelled, Splits
from pixelvae_tf.model.pixelvae import PixelVAE

# Number of test images in the picture, on which the bound and its KL are measured too.
PICTURED = 1000
_BATCH = 1000


def labelled_images(config: DataConfig) -> Splits:
    """Loads all images of a dataset and their classes. Raises DataError if it has no classes or cannot be read."""
    return Splits(*(Labelled(*data.load_labelled(config, split)) for split in SPLITS))


def of_pixels(images: Splits, components: int) -> dict[str, Splits]:
    """Returns the pixels as features, and their first `components` principal components."""
    pixels = Splits(*(Labelled(x.reshape(len(x), -1).astype("float32"), labels) for x, labels in images))
    return {"pixels": pixels, "principal components": probing.principal_components(pixels, components)}


def of_model(
    model: PixelVAE, images: Splits, on_batch: Callable[[int], Any] | None = None
) -> tuple[dict[str, Splits], dict[str, Any]]:
    """Computes the latents z1 of a model, and its bound on the first test images.

    Returns:
        Features by name, then measurements. The features are a `sample` of the posterior of each image, which carries
        at most the KL in nats about the class, and the posteriors' `means`, which can differ by less than the noise of
        the posterior. The measurements are the bound on `bound_images` images, and its KL.
    """
    encoded = [latents(model, split.features, on_batch) for split in images]
    features = {
        name: Splits(*(Labelled(codes[name], split.labels) for codes, split in zip(encoded, images, strict=True)))
        for name in ("sample", "means")
    }
    first = images.test.features[:PICTURED]
    summary = evaluate(model, (first[start : start + 100] for start in range(0, len(first), 100))).summary()
    measured = {"bound_images": len(first), **{name: summary[name] for name in ("nll_bound_nats", "kl_nats")}}
    return features, measured


def latents(model: PixelVAE, images: np.ndarray, on_batch: Callable[[int], Any] | None = None) -> dict[str, np.ndarray]:
    """Returns the `means` and a `sample` of q(z1 | x), (images, dimensions) float32 each; maps are flattened."""
    batches: dict[str, list[np.ndarray]] = {"means": [], "sample": []}
    for start in range(0, len(images), _BATCH):
        encoding = model.encode(images[start : start + _BATCH], seed=start)
        for name, levels in (("means", encoding.mean), ("sample", encoding.sample)):
            batches[name].append(levels[0].reshape(len(levels[0]), -1))
        if on_batch:
            on_batch(1)
    return {name: np.concatenate(arrays) for name, arrays in batches.items()}


def probes(features: dict[str, Splits], counts: Sequence[int], draws: int, seed: int, on_probe=None) -> dict[str, Any]:
    """Probes features by name. Returns `rows`, the results of `probing.measure`, and a `picture` of the last ones."""
    rows = [
        {"features": name, "dimensions": splits.train.features.shape[1], **row}
        for name, splits in features.items()
        for row in probing.measure(splits, counts, draws, seed, on_probe)
    ]
    test = list(features.values())[-1].test
    return {"rows": rows, "picture": probing.picture(Labelled(*(values[:PICTURED] for values in test)))}


def told(record: dict[str, Any]) -> str:
    """Formats the accuracies in a record of `probes` as one line."""
    words = []
    for row in record["rows"]:
        accuracy = np.mean([draw["test_accuracy"] for draw in row["draws"]])
        words.append(f"{row['features']}, {row['num_labels']:,} labels: {100 * accuracy:.1f}%")
    return "; ".join(words)
