"""Restores the images that python -m pixelvae_tf.compress wrote, with the model that it wrote them with."""

import pathlib
import sys

import tqdm
from absl import flags

from pixelvae_tf import files
from pixelvae_tf.commandline import program
from pixelvae_tf.commandline.flags import define_model_flags, trained_model
from pixelvae_tf.compression import container, support
from pixelvae_tf.runs.trained import find_trained, load_best

define_model_flags()
INPUT = flags.DEFINE_string("input", "", "File of compressed images.")
OUTPUT = flags.DEFINE_string(
    "output",
    "",
    "Folder to write a PNG for each image to, with the names of the images that were compressed; or a .npy file, of "
    "integers 0..levels-1, (images, height, width, colors).",
)


def main() -> None:
    as_array = OUTPUT.value.endswith(".npy")
    check = files.check_output if as_array else files.check_output_folder
    output = check(OUTPUT.value, "output")
    stored = container.read(INPUT.value, "input")
    trained = find_trained(trained_model())
    support.library()
    program.start_tensorflow(program.sampling_threads)
    import numpy as np

    from pixelvae_tf.compression.lossless import Compressor
    from pixelvae_tf.evaluation import pictures

    model, _ = load_best(trained)
    with tqdm.tqdm(total=stored.num_images, unit="image", disable=None, file=sys.stderr) as bar:
        images = Compressor(model).decompress(stored, pathlib.Path(INPUT.value), on_group=bar.update)
    if as_array:
        with files.replacing(output) as temporary:
            np.save(temporary, images)
    else:
        with files.replacing_folder(output) as temporary:
            pictures.save_each(temporary, container.picture_names(stored), images, model.config.pixel_levels)
    print(f"{len(images)} images in {output}")


if __name__ == "__main__":
    program.run(main, __doc__)
