"""Makes the tables of the README from the committed records in results/, as Markdown.

python tools/reproduce.py digits|mnist|figure4|photographs      prints one table
python tools/reproduce.py readme                    puts all of them into README.md, between their markers
"""

import pathlib
import re
import sys

from absl import flags

from pixelvae_tf import commands, files, settings

RESULTS = flags.DEFINE_string("results", "results", "Folder of the records, which tools/record.py writes.")
README = flags.DEFINE_string("readme", "README.md", "File whose tables `readme` renews.")


def record(name: str) -> dict | list | None:
    path = pathlib.Path(RESULTS.value) / f"{name}.json"
    return files.read_json(path) if path.exists() else None


def markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def budget(run: dict) -> str:
    summary, training = run["summary"], run["config"]["training"]
    return (
        f"{summary['steps']:,} steps of {training['batch_size']}, {summary['training_seconds'] / 60:.1f} minutes on "
        f"{summary['hardware']}, seed {summary['seed']}"
    )


def against_baselines(baselines: str, runs: dict[str, str], split: str) -> str:
    """Baselines and runs on one split: nats, bits per dimension, and what each run cost."""
    rows = [[row["baseline"], f"{row['nll_nats']:.1f}", f"{row['bits_per_dim']:.3f}", "", "", ""]
            for row in record(baselines) or []]  # fmt: skip
    for name, words in runs.items():
        run = record(name)
        if run is None:
            rows.append([words, "no run", "", "", "", ""])
            continue
        found = run["evaluations"][split]
        kl = " + ".join(f"{value:.1f}" for value in found["kl_nats"])
        estimate = f"{found['nll_importance_nats']:.1f}" if "nll_importance_nats" in found else ""
        rows.append([words, f"≤ {found['nll_bound_nats']:.1f}", f"≤ {found['bits_per_dim']:.3f}", kl, estimate,
                     f"{run['summary']['parameters']:,} weights; {budget(run)}"])  # fmt: skip
    return markdown(["model", "nats an image", "bits per dimension", "KL, nats", "importance estimate, nats",
                     "budget"], rows)  # fmt: skip


def digits() -> str:
    runs = {"digits_vae": "VAE without masked layers", "digits": "**PixelVAE**"}
    return against_baselines("digits_baselines", runs, "test")


def photographs() -> str:
    return against_baselines("imagenet64_baselines", {"imagenet64_cpu": "**two-level PixelVAE**"}, "validation")


def mnist() -> str:
    run = record("mnist_short")
    if run is None:
        return "No run yet."
    found, summary = run["evaluations"]["test"], run["summary"]
    ours = [
        ["validation bound, all images", "", f"≤ {summary['best_validation_bound_nats']:.2f}"],
        [f"test bound, first {found['num_examples']:,} images", "≤ 79.77 (all)", f"≤ {found['nll_bound_nats']:.2f}"],
        [f"importance estimate, {found['importance_samples']} samples", "79.17 (all)",
         f"{found['nll_importance_nats']:.2f} ± {found['nll_importance_stderr']:.2f}"],
    ]  # fmt: skip
    rows = [[*row, budget(run)] for row in ours]
    return markdown(["nats an image", "paper (200,000 steps)", "ours", "our budget"], rows)


def figure4() -> str:
    rows = []
    for layers in (0, 1, 13):
        run = record(f"figure4_{layers}")
        if run is None:
            rows.append([str(layers), "no run", "", "", ""])
            continue
        best = min(run["history"], key=lambda entry: entry["bound"])
        rows.append([str(layers), f"≤ {best['bound']:.2f}", f"{best['reconstruction']:.2f}", f"{best['kl_z1']:.2f}",
                     budget(run)])  # fmt: skip
    return markdown(["PixelCNN layers", "validation bound, nats", "reconstruction", "KL", "budget"], rows)


TABLES = {"digits": digits, "mnist": mnist, "figure4": figure4, "photographs": photographs}


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
