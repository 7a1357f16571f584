"""Makes the tables of the README from the committed records in results/, as Markdown.

python tools/reproduce.py TABLE     prints one table; without a name, an error lists them
python tools/reproduce.py readme    puts all of them into README.md, between their markers
"""

import math
import pathlib
import re
import sys
from collections.abc import Callable

from absl import flags

from pixelvae_tf import commands, files, settings

RESULTS = flags.DEFINE_string("results", "results", "Folder of the records, which tools/record.py writes.")
README = flags.DEFINE_string("readme", "README.md", "File whose tables `readme` renews.")
# Columns that several tables have.
NATS, BITS, KL = "nats an image", "bits per dimension", "KL of each level, nats"
IMPORTANCE = "importance estimate, nats"


def path_of(name: str) -> pathlib.Path:
    return pathlib.Path(RESULTS.value) / f"{name}.json"


def record(name: str) -> dict | list | None:
    return files.read_json(path_of(name)) if path_of(name).exists() else None


def markdown(columns: list[str], rows: list[dict[str, str]]) -> str:
    """A table of rows, each from column to cell; a column that no row fills is left out."""
    filled = [column for column in columns if any(row.get(column) for row in rows)]
    lines = [filled, ["---"] * len(filled), *([row.get(column, "") for column in filled] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def budget(run: dict) -> str:
    summary, training = run["summary"], run["config"]["training"]
    return (
        f"{summary['steps']:,} steps of {training['batch_size']}, {summary['training_seconds'] / 60:.1f} minutes on "
        f"{summary['hardware']}, seed {summary['seed']}"
    )


def evaluation(name: str, split: str) -> dict | None:
    """What a run's record says of a split; None without a record."""
    run = record(name)
    if run is None:
        return None
    if split not in run["evaluations"]:
        raise settings.UsageError(f"{path_of(name)}: no evaluation of --split={split}: make it, and the record again")
    return run["evaluations"][split]


def against_baselines(baselines: str, runs: dict[str, str], split: str) -> str:
    """Baselines and runs on one split, the best last: nats, bits per dimension, and what each run cost."""
    rows = [
        {"model": found["baseline"], NATS: f"{found['nll_nats']:,.1f}", BITS: f"{found['bits_per_dim']:.3f}"}
        for found in record(baselines) or []
    ]
    measured = {name: evaluation(name, split) for name in runs}
    for name in sorted(runs, key=lambda name: -measured[name]["bits_per_dim"] if measured[name] else math.inf):
        rows.append({"model": runs[name], **run_cells(name, measured[name])})
    return markdown(["model", NATS, BITS, KL, IMPORTANCE, "weights", "budget"], rows)


def run_cells(name: str, found: dict | None) -> dict[str, str]:
    if found is None:
        return {NATS: "no run"}
    return {
        NATS: f"≤ {found['nll_bound_nats']:,.1f}",
        BITS: f"≤ {found['bits_per_dim']:.3f}",
        KL: " + ".join(f"{value:.1f}" for value in found["kl_nats"]),
        IMPORTANCE: f"{found['nll_importance_nats']:,.1f}" if "nll_importance_nats" in found else "",
        "weights": f"{record(name)['summary']['parameters']:,}",
        "budget": budget(record(name)),
    }


def digits() -> str:
    runs = {"digits_vae": "VAE without masked layers", "digits": "**PixelVAE**"}
    return against_baselines("digits_baselines", runs, "test")


def section42() -> str:
    runs = {
        "compare32_conv_vae": "two-level VAE without masked layers, Gaussian pixels",
        "compare32_gaussian_prior": "PixelVAE whose p(z1 given z2) has no PixelCNN",
        "compare32_one_level": "one-level PixelVAE",
        "compare32": "**two-level PixelVAE**",
    }
    return against_baselines("compare32_baselines", runs, "validation")


def photographs() -> str:
    return against_baselines("imagenet64_baselines", {"imagenet64_cpu": "**two-level PixelVAE**"}, "validation")


def mnist() -> str:
    run, found = record("mnist_short"), evaluation("mnist_short", "test")
    if found is None:
        return "No run yet."
    bound = run["summary"]["best_validation_bound_nats"]
    paper, ours = "paper (200,000 steps)", "ours"
    rows = [
        {NATS: "validation bound, all images", ours: f"≤ {bound:.2f}"},
        {NATS: f"test bound, first {found['num_examples']:,} images", paper: "≤ 79.77 (all)",
         ours: f"≤ {found['nll_bound_nats']:.2f}"},
        {NATS: f"importance estimate, {found['importance_samples']} samples", paper: "79.17 (all)",
         ours: f"{found['nll_importance_nats']:.2f} ± {found['nll_importance_stderr']:.2f}"},
    ]  # fmt: skip
    return markdown([NATS, paper, ours, "our budget"], [{**row, "our budget": budget(run)} for row in rows])


def figure4() -> str:
    layers, bound, rows = "PixelCNN layers", "validation bound, nats", []
    for number in (0, 1, 13):
        run = record(f"figure4_{number}")
        if run is None:
            rows.append({layers: str(number), bound: "no run"})
            continue
        best = min(run["history"], key=lambda entry: entry["bound"])
        rows.append({layers: str(number), bound: f"≤ {best['bound']:.2f}", "KL": f"{best['kl_z1']:.2f}",
                     "reconstruction": f"{best['reconstruction']:.2f}", "budget": budget(run)})  # fmt: skip
    return markdown([layers, bound, "reconstruction", "KL", "budget"], rows)


def anomaly() -> str:
    """Test images and foreign ones: their scores, and how well these tell them apart."""
    cells: dict[str, dict[str, str]] = {}
    for dataset in ("digits", "mnist"):
        found = record(f"anomaly_{dataset}")
        nats, area = f"`{dataset}`: nats an image", f"`{dataset}`: area under the ROC curve"
        for images in [found["normal"], *found["foreign"]] if found else []:
            row = cells.setdefault(images["name"], {"images": images["name"].replace("_", " ")})
            row[nats] = f"≤ {images['mean_bound_nats']:,.1f}"
            row[area] = f"{images['auc_bound']:.3f}" if "auc_bound" in images else ""
    if not cells:
        return "No record yet."
    columns = list(dict.fromkeys(column for row in cells.values() for column in row))
    return markdown(columns, list(cells.values()))


def sizes() -> str:
    gflop, memory = "GFLOP an image, forward / step", "memory, float32 / bfloat16"
    least, here = "A100: a step at least, float32 / bfloat16", "here, 2 images: building + two steps + bound"
    rows = []
    for name in ("mnist", "lsun32", "lsun64", "imagenet64_small", "imagenet64"):
        row = {"flag file": f"`{name}`"}
        if found := record(f"size_{name}"):
            measured, *calculated = found["rows"]
            in_float32 = calculated[0]
            taken = " + ".join(f"{measured[f'{part}_seconds']:.1f}" for part in ("build", "step_1", "step_2", "bound"))
            row |= {
                "weights": f"{in_float32['parameters']:,}",
                gflop: f"{in_float32['forward_gflop']:.3g} / {in_float32['step_gflop']:.3g}",
                "batch": str(in_float32["batch_size"]),
                memory: each(calculated, lambda row: (row["state_bytes"] + row["tensors_bytes"]) / 1e9, ".1f") + " GB",
                least: each(calculated, lambda row: 1e3 * row["device_step_seconds"], ".3g") + " ms",
                here: f"{taken} s, {measured['peak_memory_mib'] * 2**20 / 1e9:.1f} GB",
            }
        rows.append(row)
    return markdown(["flag file", "weights", gflop, "batch", memory, least, here], rows)


def each(rows: list[dict], value: Callable[[dict], float], form: str) -> str:
    return " / ".join(format(value(row), form) for row in rows)


TABLES = {table.__name__: table for table in (digits, mnist, figure4, section42, photographs, anomaly, sizes)}


def renewed(text: str) -> str:
    """The text with every table between its markers made anew."""
    for name, table in TABLES.items():
        block = re.compile(f"(<!-- table {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text = block.sub(lambda found, table=table: f"{found[1]}{table()}\n{found[2]}", text)
    return text


def main(name: str) -> None:
    if name != "readme" and name not in TABLES:
        raise settings.UsageError(f"{name or 'nothing'!r} to make: begin with one of {', '.join(TABLES)}, readme")
    if name in TABLES:
        print(TABLES[name]())
        return
    readme = files.check_output(README.value, "readme")
    text = renewed(readme.read_text())
    with files.replacing(readme) as temporary:
        temporary.write_text(text)


if __name__ == "__main__":
    chosen = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else ""
    commands.run(lambda: main(chosen), __doc__)
