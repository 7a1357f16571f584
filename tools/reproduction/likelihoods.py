"""Tables 1 and 2 of the paper, with the results of this project's runs."""

from __future__ import annotations

import itertools
import statistics
from typing import NamedTuple

from pixelvae_tf.runs.pretrained import Pretrained, names
from reproduction import markdown
from reproduction.records import NO_RUN, Records, budget, evaluation


class System(NamedTuple):
    """A row of a table: a system of the paper, and this project's runs of it.

    Attributes:
        name: the paper's name for the system.
        paper: the paper's likelihood: nats in Table 1, bits per dimension on validation and training images in Table 2.
        bounded: whether that is an upper bound.
        flag_file: name of the flag file for the model.
        runs: names of the runs in order of preference, if not just the flag file's name.
    """

    name: str
    paper: float | tuple[float, float] | None
    bounded: bool
    flag_file: str
    runs: tuple[str, ...] = ()


def second_seed(run: str) -> str:
    """Returns the name of the run that repeats another with a second seed."""
    return f"{run}_seed1"


# Both for the model of the paper's last row, and not in the paper.
WITH_FLOW = System(
    "the same with a learned prior, not in the paper", None, True, "mnist_flow", ("mnist_dropout_flow", "mnist_flow")
)
WITH_AUGMENTATION = System(
    "the same with a learned prior and transformed training images, not in the paper",
    None,
    True,
    "mnist_flow",
    ("mnist_augmented_longer_flow", "mnist_augmented_flow"),
)
WITH_MEANS = System(
    "the same with a deeper learned prior, transformed training images and means of weights, not in the paper",
    None,
    True,
    "mnist_soup_flow",
    ("mnist_soup_flow_seed1", "mnist_mean_flow", "mnist_soup_flow_seed0"),
)
TABLE_1 = (
    System("PixelCNN", 81.3, False, "mnist_pixelcnn"),
    System("VAE", 87.4, True, "mnist_vae"),
    System("PixelVAE", 80.64, True, "mnist_pixelvae"),
    System("Gated PixelCNN", 80.1, False, "mnist_gated_pixelcnn"),
    System("Gated PixelVAE", 80.08, True, "mnist_gated_pixelvae"),
    System("PixelRNN", 79.20, False, "mnist_pixelrnn"),
    System(
        "Gated PixelVAE without upsampling",
        79.77,
        True,
        "mnist",
        ("mnist_dropout", "mnist_best", "mnist_adam", "mnist", "mnist_short"),
    ),
    WITH_FLOW,
    WITH_AUGMENTATION,
    WITH_MEANS,
    System("PixelVAE with a learned prior, not in the paper", None, True, "mnist_pixelvae_flow"),
)
TABLE_1_IMPORTANCE = {"Gated PixelVAE without upsampling": 79.17}
TABLE_2 = (
    System("PixelRNN", (3.63, 3.57), False, "imagenet64_pixelrnn"),
    System("Gated PixelCNN", (3.57, 3.48), False, "imagenet64_gated_pixelcnn"),
    System("Hierarchical PixelVAE", (3.66, 3.59), True, "imagenet64"),
    System("the same, of `64px_small`", None, True, "imagenet64_small"),
    System("the same, for two CPU cores", None, True, "imagenet64_cpu"),
)


def table1(records: Records) -> str:
    """Makes Table 1, binarized MNIST, with a row for every run of each system."""
    paper, estimate = "paper: test, nats", "paper: importance estimate"
    ours, our_estimate, images = "ours: test, nats", "ours: importance estimate", "of test images"
    rows, measured = [], []
    for system in TABLE_1:
        cells = {"model": system.name}
        if system.paper is not None:
            cells[paper] = f"{'≤ ' if system.bounded else ''}{system.paper:.2f}"
        if system.name in TABLE_1_IMPORTANCE:
            cells[estimate] = f"{TABLE_1_IMPORTANCE[system.name]:.2f}"
        for name, record, problem in _runs_of(system, records):
            if record is None:
                rows.append({**cells, ours: problem})
                continue
            found = evaluation(name, record, "test")
            measured.append((system, record, found["nll_bound_nats"]))
            rows.append(
                {
                    **cells,
                    ours: markdown.bound(found["nll_bound_nats"], found, 2),
                    our_estimate: _importance(found) if found["kl_nats"] else "",
                    images: f"{found['num_examples']:,}",
                    "our budget": f"`{name}`: {budget(record)}",
                }
            )
    made = markdown.table(["model", paper, estimate, ours, our_estimate, images, "our budget"], rows)
    return "\n\n".join([made, *_order(measured)])


def _importance(found: dict) -> str:
    if "nll_importance_nats" not in found:
        return ""
    return f"{found['nll_importance_nats']:.2f} ± {found['nll_importance_stderr']:.2f}"


def _runs_of(system: System, records: Records):
    """Returns name, record and problem of each existing run of a system; those of the first name if there is none."""
    names = system.runs or (system.flag_file, second_seed(system.flag_file))
    found = [(name, *records.run(name, system.flag_file)) for name in names]
    return [run for run in found if run[2] != NO_RUN] or found[:1]


def _order(measured: list[tuple[System, dict, float]]) -> list[str]:
    """Counts pairs of equally long trained systems that are in the paper's order; a sentence for each length.

    A system's value is the mean over its seeds.
    """
    sentences = []
    by_length: dict[tuple[int, int], dict[System, list[float]]] = {}
    for system, record, value in measured:
        if system.paper is None:
            continue
        length = (record["summary"]["steps"], record["config"]["training"]["batch_size"])
        by_length.setdefault(length, {}).setdefault(system, []).append(value)
    for (steps, batch_size), systems in sorted(by_length.items()):
        means = [(system, statistics.mean(values)) for system, values in systems.items()]
        ranked = sorted(means, key=lambda row: row[0].paper)
        pairs = list(itertools.combinations(ranked, 2))
        if not pairs:
            continue
        reversed_pairs = [f"{worse[0].name} beats {better[0].name}" for better, worse in pairs if worse[1] < better[1]]
        rest = f" The other pairs are reversed: {'; '.join(reversed_pairs)}." if reversed_pairs else ""
        sentences.append(
            f"After {steps:,} steps of {batch_size}, {len(pairs) - len(reversed_pairs)} of {len(pairs)} pairs of "
            f"models stand in the paper's order.{rest}"
        )
    return sentences


def table2(records: Records) -> str:
    """Makes Table 2, ImageNet at 64x64, in bits per dimension."""
    paper, ours, images = "paper: validation (train)", "ours: validation (train)", "validation images"
    rows = []
    for system in TABLE_2:
        cells = {"model": system.name}
        if system.paper:
            cells[paper] = "{}{:.2f} ({:.2f})".format("≤ " if system.bounded else "", *system.paper)
        for name, record, problem in _runs_of(system, records):
            if record is None:
                rows.append({**cells, ours: problem})
                continue
            found = evaluation(name, record, "validation")
            train = record["evaluations"].get("train")
            in_training = f" ({train['bits_per_dim']:.2f})" if train else ""
            rows.append(
                {
                    **cells,
                    ours: markdown.bound(found["bits_per_dim"], found, 2) + in_training,
                    images: f"{found['num_examples']:,} of `{found['variant'] or found['dataset']}`",
                    "our budget": budget(record),
                }
            )
    made = markdown.table(["model", paper, ours, images, "our budget"], rows)
    return f"{made}\n\nThe paper's 49,999 images are `vandenoord`'s: bits per dimension of others are not comparable."


def mnist(records: Records) -> str:
    """Makes the table of the best row of Table 1, trained by a short recipe."""
    record, problem = records.run("mnist_short")
    if record is None:
        return f"{problem[0].upper()}{problem[1:]}."
    found = evaluation("mnist_short", record, "test")
    validation = record["summary"]["best_validation_bound_nats"]
    nats, paper, ours = "nats an image", "paper (200,000 steps)", "ours"
    rows = [
        {nats: "validation bound, all images", ours: f"≤ {validation:.2f}"},
        {
            nats: f"test bound, first {found['num_examples']:,} images",
            paper: "≤ 79.77 (all)",
            ours: f"≤ {found['nll_bound_nats']:.2f}",
        },
        {
            nats: f"importance estimate, {found['importance_samples']} samples",
            paper: "79.17 (all)",
            ours: _importance(found),
        },
    ]
    return markdown.table([nats, paper, ours, "our budget"], [{**row, "our budget": budget(record)} for row in rows])


# The rows of the short table: run, flag file, label, split.
SUMMARY = (
    ("mnist_dropout", "mnist", "gated PixelVAE without upsampling, the paper's best", "test"),
    (
        "mnist_mean_flow",
        "mnist_soup_flow",
        "the same with a learned prior, transformed training images and means of weights",
        "test",
    ),
    ("imagenet64_cpu", "imagenet64_cpu", "two-level PixelVAE, narrow", "validation"),
    ("digits", "digits", "the quick start, `make train`", "test"),
)
# Runs that the short table leaves out if they do not exist.
_OPTIONAL = {"mnist_mean_flow"}


def summary(records: Records) -> str:
    """Makes the short table of the best results. Only systems of Table 1 have the paper's numbers beside them."""
    paper, nats, estimate = "paper, nats", "bound, nats an image", "importance estimate"
    paper_bounds = {name: system for system in TABLE_1 if system.paper is not None for name in system.runs}
    rows = []
    for name, flag_file, label, split in SUMMARY:
        record, problem = records.run(name, flag_file)
        if problem == NO_RUN and name in _OPTIONAL:
            continue
        cells = {"model": label}
        if system := paper_bounds.get(name):
            cells[paper] = f"≤ {system.paper:.2f}, estimate {TABLE_1_IMPORTANCE[system.name]:.2f}"
        if record is None:
            rows.append({**cells, nats: problem})
            continue
        found = evaluation(name, record, split)
        rows.append(
            {
                **cells,
                "images": f"`{record['config']['data']['dataset']}`, {found['num_examples']:,} of {split}",
                nats: markdown.bound(found["nll_bound_nats"], found, 2),
                estimate: _importance(found),
                "bits per dimension": markdown.bound(found["bits_per_dim"], found, 3),
                "training": budget(record),
            }
        )
    return markdown.table(["model", "images", paper, nats, estimate, "bits per dimension", "training"], rows)


def pretrained(records: Records) -> str:
    """Lists the models in the package, from their own records."""
    columns = [
        "`--pretrained`",
        "dataset",
        "test bound, nats",
        "importance estimate",
        "of test images",
        "weights",
        "training",
    ]
    rows = []
    for name in names():
        record = Pretrained(name).record()
        found = record["evaluations"]["test"]
        cells = [
            f"`{name}`",
            f"`{record['config']['data']['dataset']}`",
            markdown.bound(found["nll_bound_nats"], found, 2),
            _importance(found),
            f"{found['num_examples']:,}",
            f"{record['summary']['parameters']:,}",
            budget(record),
        ]
        rows.append(dict(zip(columns, cells, strict=True)))
    return markdown.table(columns, rows)
