"""Packs the training state of a run into one file, and unpacks it elsewhere to continue the run there.

python tools/training_state.py pack --workdir=runs/mnist --file=mnist.zip      even while it trains
python tools/training_state.py unpack --file=mnist.zip --workdir=runs/mnist    then the same train command
"""

import pathlib

import _installed  # noqa: F401
from absl import flags

from pixelvae_tf import files
from pixelvae_tf.commandline import program
from pixelvae_tf.commandline.flags import UsageError, first_word
from pixelvae_tf.runs import packing

WORKDIR = flags.DEFINE_string("workdir", "", "Folder of the run; unpack creates it.")
FILE = flags.DEFINE_string("file", "", "The packed state.")


def main(action: str) -> None:
    if action not in ("pack", "unpack"):
        raise UsageError(f"{action or 'nothing'!r} to do: begin with pack or unpack")
    if not WORKDIR.value:
        raise UsageError("--workdir is empty: name the folder of the run")
    file = files.check_output(FILE.value, "file") if action == "pack" else pathlib.Path(FILE.value)
    if action == "pack":
        program.start_tensorflow()
        step = packing.pack(WORKDIR.value, file)
        print(f"step {step} of {WORKDIR.value} in {file}, {file.stat().st_size / 1e6:.1f} MB")
    else:
        step = packing.unpack(file, WORKDIR.value)
        print(f"step {step} in {WORKDIR.value}: the command that trained it continues")


if __name__ == "__main__":
    chosen = first_word()
    program.run(lambda: main(chosen), __doc__)
