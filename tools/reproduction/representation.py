"""Tables and figures of how well latents predict classes, from the records of `tools/probe.py`."""

from __future__ import annotations

import pathlib
from typing import NamedTuple

import numpy as np

from pixelvae_tf import files
from pixelvae_tf.commandline.flags import UsageError
from reproduction import markdown
from reproduction.records import NO_RUN, Found, Records, budget, checked

# For each run its flag file and its label in tables.
MNIST = {
    "mnist_vae": ("mnist_vae", "VAE"),
    "mnist_pixelvae": ("mnist_pixelvae", "PixelVAE"),
    "mnist_gated_pixelvae": ("mnist_gated_pixelvae", "gated PixelVAE"),
    "mnist": ("mnist", "gated PixelVAE without upsampling"),
    "mnist_short": ("mnist", "the same, `mnist_short`"),
    "mnist_adam": ("mnist", "the same, `mnist_adam`"),
    "mnist_best": ("mnist", "the same, `mnist_best`"),
    "mnist_dropout": ("mnist", "the same, `mnist_dropout`"),
}
DIGITS = {"digits_vae": ("digits_vae", "VAE"), "digits": ("digits", "PixelVAE")}
_PANELS = 3


def probed(records: Records, name: str, flag_file: str) -> Found:
    """Finds the record of a run's probe, results/probe_NAME.json."""
    record = records.committed(f"probe_{name}")
    return Found(None, NO_RUN) if record is None else checked(f"probe_{name}", record, flag_file)


class Probe(NamedTuple):
    """Test accuracies of one kind of features in a record: the number of labels maps to the accuracies of all draws."""

    dimensions: int
    accuracies: dict[int, np.ndarray]

    def told(self, labels: int) -> str:
        """Formats the accuracy in percent, with the standard deviation over draws."""
        values = 100 * self.accuracies[labels]
        return f"{values.mean():.1f}" + (f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else "")


def probes(record: dict) -> dict[str, Probe]:
    """Returns the probes in a record by the name of their features."""
    found: dict[str, Probe] = {}
    for row in record["rows"]:
        accuracies = found.setdefault(row["features"], Probe(row["dimensions"], {})).accuracies
        accuracies[row["num_labels"]] = np.array([draw["test_accuracy"] for draw in row["draws"]])
    return found


def _cells(model: str, what: str, probe: Probe) -> dict[str, str]:
    cells = {"model": model, "features": what, "dimensions": str(probe.dimensions)}
    return {**cells, **{f"{labels:,} labels": probe.told(labels) for labels in probe.accuracies}}


def against_pixels(records: Records, baseline: str, systems: dict[str, tuple[str, str]]) -> str:
    """Lists accuracies with pixels, with their principal components, and with the latents of runs."""
    nats, found = "KL, nats", records.committed(f"probe_pixels_{baseline}")
    given = [found] if found else []
    rows = [_cells("none", what, probe) for record in given for what, probe in probes(record).items()]
    for name, (flag_file, label) in systems.items():
        record, problem = probed(records, name, flag_file)
        if record is None:
            rows.append({"model": label, "features": problem})
            continue
        given.append(record)
        for what, probe in sorted(probes(record).items()):
            kl = " + ".join(f"{level:.1f}" for level in record["kl_nats"])
            called = {"means": "means of q(z given x)", "sample": "a sample of z"}[what]
            rows.append({**_cells(label, called, probe), nats: kl, "budget": budget(record)})
    converged = [draw["converged"] for record in given for row in record["rows"] for draw in row["draws"]]
    numbers = [column for column in dict.fromkeys(key for row in rows for key in row) if column.endswith(" labels")]
    made = markdown.table(["model", nats, "features", "dimensions", *numbers, "budget"], rows)
    unfinished = converged.count(False)
    told = [f"{unfinished} of {len(converged)} fits ended at their limit of iterations."] if unfinished else []
    return "\n\n".join([made, *told])


def mnist(records: Records) -> str:
    return against_pixels(records, "binarized_mnist", MNIST)


def digits(records: Records) -> str:
    return against_pixels(records, "digits", DIGITS)


def latents(records: Records, output: pathlib.Path) -> str:
    """Draws test images on a plane for each model of MNIST, colored by class.

    Raises:
        UsageError: if there is no record at all.
    """
    panels, missing = [], []
    if pixels := records.committed("probe_pixels_binarized_mnist"):
        panels.append((f"{probes(pixels)['principal components'].dimensions} principal components of pixels", pixels))
    for name, (flag_file, label) in MNIST.items():
        record, problem = probed(records, name, flag_file)
        if record is None:
            missing.append(f"{label}: {problem}")
        else:
            panels.append((f"{label.replace('`', '')}\nKL {sum(record['kl_nats']):.1f} nats", record))
    if not panels:
        raise UsageError(f"nothing to draw, see tools/probe.py. {'; '.join(missing)}")
    _draw(panels, output)
    return "; ".join([f"{len(panels)} pictures in {output}", *missing])


def _draw(panels: list[tuple[str, dict]], output: pathlib.Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = -(-len(panels) // _PANELS)
    figure, axes = pyplot.subplots(
        rows, _PANELS, figsize=(3.6 * _PANELS, 3.9 * rows), squeeze=False, layout="constrained"
    )
    for place in axes.flat:
        place.set_axis_off()
    for place, (title, record) in zip(axes.flat, panels, strict=False):
        picture, colours = record["picture"], pyplot.get_cmap("tab10")
        for label in np.unique(picture["label"]):
            chosen = np.array(picture["label"]) == label
            place.scatter(
                np.array(picture["x"])[chosen],
                np.array(picture["y"])[chosen],
                5,
                color=colours(int(label)),
                label=str(label),
            )
        place.set_title(title, fontsize=10)
        if np.ptp(picture["x"]) == 0:
            place.set(xlim=(-1, 1), ylim=(-1, 1))
            place.text(0, -0.15, "all images in one place", ha="center", fontsize=9)
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=10, frameon=False, markerscale=2.5)
    with files.replacing(output) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
    pyplot.close(figure)
