"""Figures 4 and 5: the bound on MNIST and its two terms against the number of PixelCNN layers."""

from __future__ import annotations

import pathlib
from typing import NamedTuple

from pixelvae_tf import files
from pixelvae_tf.commandline.flags import UsageError
from reproduction import markdown
from reproduction.records import NO_RUN, Found, Records, budget

# The wanted numbers of layers. Runs with other numbers are shown too. 0 is the VAE.
LAYERS = (0, 1, 2, 4, 8, 12)
PIXELVAE, PIXELCNN = "PixelVAE", "PixelCNN"


class Curve(NamedTuple):
    """The runs of one kind of model by number of PixelCNN layers, and for missing numbers the reason."""

    records: dict[int, dict]
    missing: dict[int, str]

    def best(self, layers: int) -> dict:
        """Returns the validation with the lowest bound."""
        return min(self.records[layers]["history"], key=lambda entry: entry["bound"])


def curve(records: Records, kind: str) -> Curve:
    """Collects the runs figure4_N for PixelVAE, or figure4_pixelcnn_N for PixelCNN."""
    pattern = {PIXELVAE: r"figure4_(\d+)", PIXELCNN: r"figure4_pixelcnn_(\d+)"}[kind]
    there = {int(match[1]): match[0] for match in records.matching(pattern)}
    asked = LAYERS if kind == PIXELVAE else LAYERS[1:]
    found, missing = {}, {}
    for layers in sorted({*asked, *there}):
        changes = [f"--pixelcnn_layers={layers}", *(["--latent_channels="] if kind == PIXELCNN else [])]
        name = there.get(layers)
        record, problem = records.run(name, "mnist_figure4", *changes) if name else Found(None, NO_RUN)
        if record is None:
            missing[layers] = problem
        else:
            found[layers] = record
    return Curve(found, missing)


def curves(records: Records) -> dict[str, Curve]:
    return {kind: curve(records, kind) for kind in (PIXELVAE, PIXELCNN)}


def table(records: Records) -> str:
    """Lists the numbers of both figures, and names missing runs."""
    found = curves(records)
    rows = []
    for kind, of_kind in found.items():
        for layers, record in of_kind.records.items():
            best = of_kind.best(layers)
            latent = "kl_z1" in best
            rows.append(
                {
                    "model": kind if layers else "VAE",
                    "PixelCNN layers": str(layers),
                    "validation bound, nats": f"{'≤ ' if latent else ''}{best['bound']:.2f}",
                    "reconstruction": f"{best['reconstruction']:.2f}" if latent else "",
                    "KL": f"{best['kl_z1']:.2f}" if latent else "",
                    "budget": budget(record),
                }
            )
    columns = ["model", "PixelCNN layers", "validation bound, nats", "reconstruction", "KL", "budget"]
    return "\n\n".join([*([markdown.table(columns, rows)] if rows else []), *_missing(found)])


def _missing(found: dict[str, Curve]) -> list[str]:
    """Returns a sentence about the points without a run, and one about each run of another model."""
    absent = {
        kind: [str(layers) for layers, problem in of_kind.missing.items() if problem == NO_RUN]
        for kind, of_kind in found.items()
    }
    named = [f"{kind} with {', '.join(layers)} layers" for kind, layers in absent.items() if layers]
    others = [problem for of_kind in found.values() for problem in of_kind.missing.values() if problem != NO_RUN]
    return ([f"No run: {'; '.join(named)}."] if named else []) + [f"Left out: {problem}." for problem in others]


def figure4(records: Records, output: pathlib.Path) -> str:
    """Draws the bound of PixelVAE and the likelihood of PixelCNN."""
    found = curves(records)
    figure, (axes,) = _axes(1, found)
    for kind, of_kind in found.items():
        layers = list(of_kind.records)
        if layers:
            label = "PixelVAE: upper bound (0 layers: VAE)" if kind == PIXELVAE else "PixelCNN: exact"
            axes.plot(layers, [of_kind.best(number)["bound"] for number in layers], "o-", label=label)
    axes.set_ylabel("negative log-likelihood, nats an image")
    axes.legend(frameon=False)
    return _written(figure, output, found)


def figure5(records: Records, output: pathlib.Path) -> str:
    """Draws the two terms of the bound of PixelVAE."""
    of_kind = curve(records, PIXELVAE)
    figure, panels = _axes(2, {PIXELVAE: of_kind})
    for axes, name, label in zip(panels, ("reconstruction", "kl_z1"), ("reconstruction", "KL divergence"), strict=True):
        layers = list(of_kind.records)
        values = [of_kind.best(number)[name] for number in layers]
        axes.plot(layers, values, "o-")
        for point in zip(layers, values, strict=True):
            axes.annotate(f"{point[1]:.2f}", point, (5, 5), textcoords="offset points", fontsize=8)
        axes.set_ylabel(f"{label}, nats an image")
        axes.margins(0.15)
    panels[1].set_ylim(bottom=0)
    return _written(figure, output, {PIXELVAE: of_kind})


def _axes(count: int, found: dict[str, Curve]):
    """Creates a figure with axes over the number of layers side by side; the title gives the cost of the runs.

    Raises:
        UsageError: if there is no run at all.
    """
    if not any(of_kind.records for of_kind in found.values()):
        raise UsageError(f"nothing to draw. {' '.join(_missing(found))}")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    size = (5.6 * max(1, 0.75 * count), 3.8)
    figure, axes = pyplot.subplots(1, count, figsize=size, squeeze=False, layout="constrained")
    lengths = {
        f"{record['summary']['steps']:,} steps of {record['config']['training']['batch_size']}"
        for of_kind in found.values()
        for record in of_kind.records.values()
    }
    length = lengths.pop() if len(lengths) == 1 else "unequal budgets"
    figure.suptitle(f"Binarized MNIST, validation images, {length}", fontsize=10)
    for panel in axes[0]:
        panel.set_xlabel("PixelCNN layers")
        panel.set_xticks(sorted({layers for of_kind in found.values() for layers in of_kind.records}))
        panel.grid(alpha=0.3)
    return figure, axes[0]


def _written(figure, output: pathlib.Path, found: dict[str, Curve]) -> str:
    with files.replacing(output) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    return " ".join([f"{sum(len(of_kind.records) for of_kind in found.values())} runs in {output}.", *_missing(found)])
