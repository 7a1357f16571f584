"""Gathers the records of a run into one JSON file for results/.

python tools/record.py --workdir=runs/digits --output=results/digits.json
"""

import _installed  # noqa: F401
from absl import flags

from pixelvae_tf import files
from pixelvae_tf.commandline import program
from pixelvae_tf.runs.workdir import Run

WORKDIR = flags.DEFINE_string("workdir", "", "Folder of the run.")
OUTPUT = flags.DEFINE_string("output", "", "JSON file to write.")


def main() -> None:
    output = files.check_output(OUTPUT.value, "output")
    files.write_json(output, Run(WORKDIR.value).record())
    print(f"record of {WORKDIR.value} in {output}")


if __name__ == "__main__":
    program.run(main, __doc__)
