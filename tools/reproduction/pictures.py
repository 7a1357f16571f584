"""Figures 2 and 6: samples side by side, from models in work directories or in the package."""

from __future__ import annotations

import pathlib
from typing import NamedTuple

import numpy as np

from pixelvae_tf.runs.pretrained import Pretrained
from pixelvae_tf.runs.trained import load_best
from pixelvae_tf.runs.workdir import Run
from reproduction.records import Records, unlike

_COLUMNS = 10
# In order of preference. Samples need weights, and records have none.
FIGURE_2 = {
    "PixelCNN": ("mnist_gated_pixelcnn", "mnist_pixelcnn"),
    "VAE": ("mnist_vae",),
    "PixelVAE": ("mnist_pixelvae", "mnist_gated_pixelvae", "mnist"),
}
FIGURE_6 = ("lsun64", "imagenet64_cpu", "compare32", "mnist")
# Models of the package that replace missing runs, by flag file.
PRETRAINED = {"mnist": "binarized_mnist_best"}


class Trained(NamedTuple):
    """A model to draw from, and its label in a picture."""

    source: Run | Pretrained
    label: str


def trained(records: Records, names: tuple[str, ...]) -> tuple[Trained | None, list[str]]:
    """Returns the first of these models that has weights, and why those before it cannot be used."""
    problems = []
    for name in names:
        run = records.workdir(name)
        if run and run.best():
            difference = unlike(run.config(), name)
            if difference is None:
                return Trained(run, f"{name}, step {run.best()['step']:,}"), problems
            problems.append(f"{run.workdir} is not flags/{name}.cfg: {difference}")
        elif name in PRETRAINED:
            source = Pretrained(PRETRAINED[name])
            return Trained(source, f"{source.name}, step {source.record()['best']['step']:,}"), problems
        else:
            problems.append(f"no run of flags/{name}.cfg")
    return None, problems


def figure2(records: Records, output: pathlib.Path, rows: int = 3) -> str:
    """Draws samples of a PixelCNN, a VAE and a PixelVAE of MNIST, from top to bottom."""
    from pixelvae_tf.evaluation import pictures

    panels, told = [], []
    for system, names in FIGURE_2.items():
        found, problems = trained(records, names)
        if found is None:
            told.append(f"{system}: {', '.join(problems)}")
            panels.append((f"{system}: no run", None))
            continue
        model, _ = load_best(found.source)
        images = model.sample(rows * _COLUMNS, seed=0)
        panels.append((f"{system} ({found.label})", pictures.grid(images, model.config.pixel_levels, _COLUMNS)))
    pictures.save(output, stacked(panels))
    return "; ".join([f"samples in {output}", *told])


def figure6(records: Records, output: pathlib.Path, rows: int = 2) -> str:
    """Draws samples that vary along each row in only one level of the model's noise."""
    from pixelvae_tf.evaluation import pictures
    from pixelvae_tf.sampling.noise import sources_of_noise

    found, problems = trained(records, FIGURE_6)
    model, _ = load_best(found.source)
    sources, panels = sources_of_noise(model.config), []
    for source in ("top", "middle", "pixels"):
        if source not in sources:
            panels.append((f"{source}: the model has no such level", None))
            continue
        images = model.sample_varying(source, rows, _COLUMNS, seed=0)
        words = f"only the noise of {'the pixels' if source == 'pixels' else f'the {source} level'} varies along a row"
        panels.append((words, pictures.grid(images, model.config.pixel_levels, _COLUMNS)))
    pictures.save(output, stacked(panels))
    return "; ".join([f"{found.label}, in {output}", *problems])


def stacked(panels: list[tuple[str, np.ndarray | None]]) -> np.ndarray:
    """Stacks grids of images with headings: (height, width, 1 or 3) uint8.

    Args:
        panels: headings with their grids; None instead of a grid if there is nothing to show. All grids have the same
            width.
    """
    from pixelvae_tf.evaluation import pictures

    shapes = [canvas.shape for _, canvas in panels if canvas is not None]
    _, width, colors = shapes[0] if shapes else (0, 600, 1)
    nothing = np.zeros((0, width, colors), "uint8")
    canvases = [pictures.headed(nothing if canvas is None else canvas, [(words, 1)]) for words, canvas in panels]
    return np.concatenate(canvases)
