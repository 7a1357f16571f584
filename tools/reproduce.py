"""Makes the paper's tables and figures, and this project's own tables, from runs and from the committed records.

python tools/reproduce.py TABLE                        prints a table as Markdown; without a name, an error lists them
python tools/reproduce.py FIGURE --output=FILE.png     draws a figure
python tools/reproduce.py run NAME --minutes=N         trains, evaluates and records the runs behind one of them
python tools/reproduce.py readme                       updates the tables in README.md and docs/, from records alone

A run comes from its work directory, --runs/NAME, or else from its record, --results/NAME.json. Tables and figures mark
rows without a run, and runs whose model or dataset differs from the flag file's.

`run` trains and evaluates the runs of a table or figure one by one, in --runs/NAME, and writes their records to
--results. It skips finished runs and continues interrupted ones.
"""

import pathlib
import re

import _installed  # noqa: F401
from absl import flags
from reproduction import (
    baselines,
    benchmarks,
    classes,
    compression,
    curves,
    likelihoods,
    measurements,
    pictures,
    progress,
    recipes,
    representation,
)
from reproduction.records import Records

from pixelvae_tf import files
from pixelvae_tf.commandline import program
from pixelvae_tf.commandline.flags import UsageError, first_word

RESULTS = flags.DEFINE_string("results", "results", "Folder of the records that tools/record.py writes.")
RUNS = flags.DEFINE_string("runs", "runs", "Folder of the work directories.")
OUTPUT = flags.DEFINE_string("output", "", "PNG file to write; only for figures.")
MINUTES = flags.DEFINE_float("minutes", 0.0, "For `run`: stop after this many minutes; 0 for no limit.", 0.0)
DATA_DIR = flags.DEFINE_string("data_dir", "", "For `run`: folder of prepared data; by default TFDS_DATA_DIR.")
PAGES = ["README.md", *sorted(map(str, pathlib.Path("docs").glob("*.md")))]
README = flags.DEFINE_list("readme", PAGES, "Files whose tables `readme` updates.")

TABLES = {
    "summary": likelihoods.summary,
    "table1": likelihoods.table1,
    "table2": likelihoods.table2,
    "figure4": curves.table,
    "figure5": curves.table,
    "digits": baselines.digits,
    "mnist": likelihoods.mnist,
    "section42": baselines.section42,
    "photographs": baselines.photographs,
    "anomaly": measurements.anomaly,
    "sizes": measurements.sizes,
    "sampling": measurements.sampling,
    "sampling_on_a_gpu": measurements.sampling_on_a_gpu,
    "pretrained": likelihoods.pretrained,
    "probe": representation.mnist,
    "probe_digits": representation.digits,
    "compression": compression.sizes,
    "compression_costs": compression.costs,
    "class_accuracy": classes.accuracy,
    "class_likelihoods": classes.likelihoods,
    **benchmarks.TABLES,
}
CHARTS = {
    "figure4": curves.figure4,
    "figure5": curves.figure5,
    "progress": progress.progress,
    "latents": representation.latents,
}
PICTURES = {"figure2": pictures.figure2, "figure6": pictures.figure6}


def updated(text: str, records: Records) -> str:
    """Returns the text with every table between its markers updated."""
    for name, table in TABLES.items():
        block = re.compile(f"(<!-- table {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text = block.sub(lambda match, table=table: f"{match[1]}{table(records)}\n{match[2]}", text)
    return text


def main(name: str, which: str) -> None:
    if name == "run":
        chosen = recipes.known(which)
        # Checks before the work that the records can be written.
        files.check_output(f"{RESULTS.value}/{chosen}.json", "results")
        recipes.make(chosen, pathlib.Path(RUNS.value), pathlib.Path(RESULTS.value), DATA_DIR.value, MINUTES.value)
        return
    known = {**TABLES, **CHARTS, **PICTURES}
    if name != "readme" and name not in known:
        raise UsageError(f"{name or 'nothing'!r} to make: begin with one of {', '.join(known)}, run, readme")
    records = Records(pathlib.Path(RESULTS.value), pathlib.Path(RUNS.value))
    if name == "readme":
        for path in README.value:
            page = files.check_output(path, "readme")
            text = updated(page.read_text(), Records(records.results))
            with files.replacing(page) as temporary:
                temporary.write_text(text)
    elif OUTPUT.value or name not in TABLES:
        if name not in {**CHARTS, **PICTURES}:
            raise UsageError(f"--output: {name} is a table and goes to the screen; leave out --output")
        output = files.check_output(OUTPUT.value, "output")
        if name in PICTURES:
            program.start_tensorflow(program.sampling_threads)
        print({**CHARTS, **PICTURES}[name](records, output))
    else:
        print(TABLES[name](records))


if __name__ == "__main__":
    chosen = first_word()
    which = first_word() if chosen == "run" else ""
    program.run(lambda: main(chosen, which), __doc__)
