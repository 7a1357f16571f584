"""The validation bound during training for the best row of Table 1, with every long recipe for its model.

Includes the model with a learned prior, which is not in the paper.
"""

from __future__ import annotations

import pathlib

from pixelvae_tf import files
from pixelvae_tf.commandline.flags import UsageError
from reproduction.likelihoods import TABLE_1, WITH_AUGMENTATION, WITH_FLOW
from reproduction.records import NO_RUN, Found, Records, continued

BEST_ROW = next(system for system in TABLE_1 if system.flag_file == "mnist")
# Flag files by recipe, without the run with the common budget of all rows.
RECIPES = {name: BEST_ROW.flag_file for name in BEST_ROW.runs if name != BEST_ROW.flag_file}
RECIPES |= {name: system.flag_file for system in (WITH_FLOW, WITH_AUGMENTATION) for name in system.runs}
# The plot ends this many nats above the lowest bound and so cuts off the first steps.
_SHOWN_NATS = 12.0


def progress(records: Records, output: pathlib.Path) -> str:
    """Draws bound and KL on validation images against the number of training images so far.

    Raises:
        UsageError: if there is no run at all.
    """
    found = {name: records.run(name, flag_file) for name, flag_file in RECIPES.items()}
    there = {name: run.record for name, run in found.items() if run.record is not None}
    missing = _missing(found)
    if not there:
        raise UsageError(f"nothing to draw. {' '.join(missing)}")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(8.4, 3.8), layout="constrained")
    for name, record in there.items():
        thousands = [count / 1000 for count in images_seen(record, there)]
        for axes, quantity in zip(panels, ("bound", "kl_z1"), strict=True):
            axes.plot(thousands, [entry[quantity] for entry in record["history"]], ".-", label=name)
    lowest = min(entry["bound"] for record in there.values() for entry in record["history"])
    panels[0].axhline(BEST_ROW.paper, color="gray", linestyle="--", label="paper, test, 400 epochs")
    panels[0].set_ylim(min(lowest, BEST_ROW.paper) - 0.5, lowest + _SHOWN_NATS)
    panels[0].set_ylabel("negative bound, nats an image")
    panels[0].legend(frameon=False)
    panels[1].set_ylim(bottom=0)
    panels[1].set_ylabel("KL divergence, nats an image")
    for axes in panels:
        axes.set_xlabel("training images, thousands")
        axes.grid(alpha=0.3)
    figure.suptitle(f"{BEST_ROW.name}, binarized MNIST, validation images", fontsize=10)
    with files.replacing(output) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    return " ".join([f"{len(there)} runs in {output}.", *missing])


def images_seen(record: dict, others: dict[str, dict]) -> list[int]:
    """Returns the number of training images before each validation of a run.

    A run that continues one of `others`, by name, begins where the best weights of that one are. The mean of several
    begins after the images of all: those that they share, from the run that they continue, count once.
    """
    first, batch_size = _images_before(record, others), record["config"]["training"]["batch_size"]
    return [first + entry["step"] * batch_size for entry in record["history"]]


def _images_before(record: dict, others: dict[str, dict]) -> int:
    return sum(_images_of_earlier(record, others).values())


def _images_of_earlier(record: dict, others: dict[str, dict]) -> dict[str, int]:
    """Returns the training images of each run before this one, by name, up to its best weights."""
    images = {}
    for name in continued(record):
        if (before := others.get(name)) is not None:
            images[name] = before["summary"]["best_step"] * before["config"]["training"]["batch_size"]
            images |= _images_of_earlier(before, others)
    return images


def _missing(found: dict[str, Found]) -> list[str]:
    absent = [name for name, run in found.items() if run.problem == NO_RUN]
    others = [run.problem for run in found.values() if run.problem not in ("", NO_RUN)]
    return ([f"No run: {', '.join(absent)}."] if absent else []) + [f"Left out: {problem}." for problem in others]
