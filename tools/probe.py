"""Measures how well a linear classifier predicts classes from a model's latents, and places the latents on a plane.

python tools/probe.py --workdir=runs/mnist_vae --output=results/probe_mnist_vae.json, or --pretrained=NAME
python tools/probe.py --dataset=binarized_mnist --output=FILE does the same for pixels and their principal components.

binarized_mnist has no labels, so the tool binarizes the images of mnist, which must be prepared too.
"""

import dataclasses
import sys
import time

import _installed  # noqa: F401
import tqdm
from absl import flags

from pixelvae_tf import files
from pixelvae_tf.commandline import program
from pixelvae_tf.commandline.flags import UsageError, define_model_flags, integers, trained_model
from pixelvae_tf.config import DataConfig
from pixelvae_tf.runs.environment import environment
from pixelvae_tf.runs.trained import find, load_best

define_model_flags()
DATASET = flags.DEFINE_string(
    "dataset",
    None,
    "Labelled images: digits, mnist or binarized_mnist; by default those that the model was trained on.",
)
DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of prepared data, if it differs from that of the training.")
OUTPUT = flags.DEFINE_string("output", "", "JSON file to write.")
LABELS = flags.DEFINE_list("labels", ["100", "1000"], "Numbers of labels to train on, in addition to all labels.")
DRAWS = flags.DEFINE_integer("draws", 10, "Random draws for each number of labels, with equally many of each class.", 1)
COMPONENTS = flags.DEFINE_integer("components", 16, "Principal components of the pixels, if there is no model.", 1, 64)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the draws.", 0, 2**31 - 1)


def main() -> None:
    output = files.check_output(OUTPUT.value, "output")
    counts, started = integers("labels", LABELS.value), time.perf_counter()
    of_pixels = DATASET.value and not any(flags.FLAGS[name].value for name in ("workdir", "pretrained"))
    trained = None if of_pixels else find(trained_model())
    history = trained and trained.record()
    if trained and not trained.config().model.latent_channels:
        raise UsageError("--workdir, --pretrained: a PixelCNN has no latents; name a PixelVAE or a VAE")
    program.start_tensorflow()
    from pixelvae_tf import data
    from pixelvae_tf.evaluation import latent_probe

    config = trained.config().data if trained else DataConfig()
    given = {"dataset": DATASET.value, "data_dir": DATA_DIR.value}
    config = dataclasses.replace(config, **{name: value for name, value in given.items() if value is not None})
    info = data.describe(config)
    model, best = load_best(trained) if trained else (None, None)
    if model and (info.image_shape, info.pixel_levels) != (model.config.image_shape, model.config.pixel_levels):
        raise UsageError(
            f"--dataset={config.dataset}: its images are {info.image_shape} of {info.pixel_levels} levels, the model's "
            f"{model.config.image_shape} of {model.config.pixel_levels}; leave --dataset out to use its own dataset"
        )
    images = latent_probe.labelled_images(config)
    with tqdm.tqdm(unit="step", disable=None, file=sys.stderr) as bar:
        if model:
            features, measured = latent_probe.of_model(model, images, bar.update)
            measured |= {"config": history["config"], "summary": history["summary"]}
            measured |= {"checkpoint_step": best["step"], "weights": best["weights"]}
        else:
            features, measured = latent_probe.of_pixels(images, COMPONENTS.value), {}
        results = latent_probe.probes(features, counts, DRAWS.value, SEED.value, bar.update)
    files.write_json(
        output,
        {
            "dataset": config.dataset,
            "num_examples": info.num_examples,
            "seed": SEED.value,
            **measured,
            **results,
            "seconds": round(time.perf_counter() - started, 1),
            **environment(),
        },
    )
    print(f"{latent_probe.told(results)} ({output})")


if __name__ == "__main__":
    program.run(main, __doc__)
