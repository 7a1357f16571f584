"""Exports a model as a SavedModel, which TensorFlow runs without this package; `docs/serving.md` is for users.

The endpoints use the graphs behind the methods of `PixelVAE`, so a seed gives the same results in both. They check
their arguments in the graph.
"""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator

import keras
import tensorflow as tf

from pixelvae_tf import files
from pixelvae_tf.config import ModelConfig
from pixelvae_tf.files import FileError
from pixelvae_tf.layers.compilation import compiling
from pixelvae_tf.model import checks
from pixelvae_tf.model.batch_sizes import in_few_sizes
from pixelvae_tf.model.codes import noise_below
from pixelvae_tf.model.pixelvae import PixelVAE
from pixelvae_tf.probability import objectives, randomness
from pixelvae_tf.sampling.noise import draw_noise, latent_noise

RECORD = "export.json"
KERAS_FILE = "model.keras"
_FORMAT = "pixelvae_tf SavedModel"
# The files of an export. A folder with any other file is not replaced.
_OWN = {"assets", "fingerprint.pb", "saved_model.pb", "variables", RECORD, KERAS_FILE}


class Endpoints:
    """The functions of a SavedModel: tensors in, a dictionary of named tensors out.

    For a model of classes they take one more argument at the end: the label of all images, (1,), or of each.

    Args:
        model: the model.
    """

    def __init__(self, model: PixelVAE):
        self.model = model
        self.config = model.config
        self.unchanged = tf.ones([1 + model.config.num_levels])

    def serving_default(self, images, label=None):
        """Scores images: the bound of each, by itself and not by what else is in the batch, and its terms."""
        images = self._checked(images)
        # A server may batch the images of several requests, so every image gets the noise of a first image.
        noise = latent_noise(self.config, 1, 0)
        noise = tuple(tf.repeat(level, tf.shape(images)[0], axis=0) for level in noise)
        terms = in_few_sizes(self.model.elbo_terms)(images, noise, label=self._checked_label(label, images))
        return {
            "elbo_nats": terms.elbo,
            "bits_per_dim": objectives.bits_per_dim(-terms.elbo, self.config.num_dimensions),
            "reconstruction_nats": terms.reconstruction,
            **{f"kl_z{level + 1}_nats": kl for level, kl in enumerate(terms.kl)},
        }

    def log_likelihood(self, images, importance_samples, seed, label=None):
        """Estimates log p(x) of each image by importance sampling; exact for a model without latents."""
        importance_samples = checks.require(
            importance_samples, importance_samples >= 1, "importance_samples: use 1 or more"
        )
        images, *label = self._with_label(images, label)
        return {"log_likelihood_nats": self.model.graphs.log_likelihood(images, importance_samples, seed, *label)}

    def encode(self, images, label=None):
        """Finds the latents of each image: the posteriors of every level, and samples of them with seed 0."""
        images, *label = self._with_label(images, label)
        encoding = self.model.graphs.encode(images, 0, *label)._asdict()
        return {f"z{level + 1}_{name}": z for name, values in encoding.items() for level, z in enumerate(values)}

    def posterior(self, images, label=None):
        """Finds the posterior of every level for each image, without samples; converts to TensorFlow Lite."""
        images = self._converting(images)
        posteriors = in_few_sizes(self.model.q_z_given_x)(images, self._checked_label(label, images))
        return {
            f"z{level + 1}_{name}": getattr(q, name) for level, q in enumerate(posteriors) for name in ("mean", "scale")
        }

    def score_given_noise(self, images, *noise_and_label):
        """Scores images with standard normal noise that is given, level by level; converts to TensorFlow Lite."""
        images, levels = self._converting(images), self.config.num_levels
        noise, label = noise_and_label[:levels], [*noise_and_label[levels:], None][0]
        terms = in_few_sizes(self.model.elbo_terms)(images, noise, label=self._checked_label(label, images))
        return {"elbo_nats": terms.elbo, "reconstruction_nats": terms.reconstruction}

    def sample(self, num_samples, seed, label=None):
        """Draws images from the model."""
        num_samples = checks.require(num_samples, num_samples >= 1, "num_samples: use 1 or more")
        noise = draw_noise(self.config, num_samples, seed)
        label = () if label is None else (self._checked_label(label, noise.pixels),)
        return {"images": self.model.graphs.draw["cached"](noise, self.unchanged, *label)}

    def reconstruct(self, images, seed, label=None):
        """Draws an image from p(x | z1) for each given one, at a sample of its posterior of z1."""
        return self._continued(self._checked(images), tf.zeros((1, *self.config.image_shape), tf.bool), seed, label)

    def decode(self, z1, same_noise, seed, label=None):
        """Draws an image from p(x | z1) at each given z1."""
        return self._decoded(0, z1, same_noise, seed, label)

    def decode_top(self, z, same_noise, seed, label=None):
        """Draws an image at each given z of the topmost level; the levels below it are drawn from the prior."""
        return self._decoded(self.config.num_levels - 1, z, same_noise, seed, label)

    def _decoded(self, level, z, same_noise, seed, label):
        name, shape = f"z{level + 1}", self.config.latent_shapes[level]
        z = checks.require(z, tf.shape(z)[0] >= 1, f"{name}: give one or more")
        z = checks.require(z, tf.shape(z)[1:] == shape, f"{name}: this model takes (batch, {_listed(shape)})")
        z = checks.require(z, tf.math.is_finite(z), f"{name}: has values that are not finite; give finite numbers")
        noise = noise_below(self.config, level, tf.shape(z)[0], seed, same_noise)
        label = () if label is None else (self._checked_label(label, z),)
        return {"images": self.model.graphs.decode["cached"][level](z, noise, self.unchanged, *label)}

    def complete(self, images, keep_rows, seed, label=None):
        """Keeps the first rows of each image and draws the others."""
        height, width, _ = self.config.image_shape
        inside = (keep_rows >= 0) & (keep_rows <= height)
        keep_rows = checks.require(keep_rows, inside, f"keep_rows: the images have {height} rows; use 0 to {height}")
        known = tf.broadcast_to(tf.range(height)[:, None] < keep_rows, (1, height, width))
        return self._completed(images, known, seed, label)

    def complete_mask(self, images, mask, seed, label=None):
        """Keeps the pixels of each image where the mask is true and draws the others."""
        fits = (tf.shape(mask)[0] == 1) | (tf.shape(mask)[0] == tf.shape(images)[0])
        mask = checks.require(mask, fits, "mask: give one, or as many as images")
        shape = self.config.image_shape[:2]
        mask = checks.require(
            mask, tf.shape(mask)[1:] == shape, f"mask: this model takes (1 or batch, {_listed(shape)})"
        )
        return self._completed(images, mask, seed, label)

    def _converting(self, images):
        """Checks images and converts them to a type that TensorFlow Lite's operations support."""
        return self._checked(tf.cast(images, tf.int32))

    def _completed(self, images, known, seed, label):
        known = tf.broadcast_to(known[..., None], (tf.shape(known)[0], *self.config.image_shape))
        return self._continued(tf.where(known, self._checked(images), 0), known, seed, label)

    def _continued(self, images, known, seed, label):
        seed = randomness.as_seed(seed)
        label = () if label is None else (self._checked_label(label, images),)
        return {"images": self.model.graphs.complete["cached"](images, known, seed, self.unchanged, *label)}

    def _with_label(self, images, label) -> tuple:
        """Returns the checked images, and for a model of classes also the label of each."""
        images = self._checked(images)
        return (images,) if label is None else (images, self._checked_label(label, images))

    def _checked_label(self, label, images):
        """Returns the label of each image, (batch,) int32; None for a model without classes."""
        label, count = checks.label_in_graph(label, self.config), tf.shape(images)[0]
        if label is None:
            return None
        fits = (tf.shape(label)[0] == 1) | (tf.shape(label)[0] == count)
        return tf.broadcast_to(checks.require(label, fits, "label: give one, or as many as images"), [count])

    def _checked(self, images):
        shape, top = self.config.image_shape, self.config.pixel_levels - 1
        images = checks.require(images, tf.shape(images)[0] >= 1, "images: give one or more")
        # The signature says this too, but not every caller checks it.
        images = checks.require(
            images, tf.shape(images)[1:] == shape, f"images: this model takes (batch, {_listed(shape)})"
        )
        return checks.require(images, images <= top, f"images: this model takes pixels 0..{top}")


def _listed(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


def signatures(config: ModelConfig) -> dict[str, list[tf.TensorSpec]]:
    """Returns the endpoints of a model with this configuration, and the arguments of each."""
    images = tf.TensorSpec((None, *config.image_shape), tf.uint8, "images")
    mask = tf.TensorSpec((None, *config.image_shape[:2]), tf.bool, "mask")
    noise = [
        tf.TensorSpec((None, *shape), tf.float32, f"noise_z{level + 1}")
        for level, shape in enumerate(config.latent_shapes)
    ]
    numbers = ("num_samples", "importance_samples", "keep_rows", "seed")
    num_samples, importance_samples, keep_rows, seed = (tf.TensorSpec((), tf.int32, name) for name in numbers)
    label = [tf.TensorSpec((None,), tf.int32, "label")] if config.num_classes else []
    latents = [
        tf.TensorSpec((None, *shape), tf.float32, f"z{level + 1}") for level, shape in enumerate(config.latent_shapes)
    ]
    same_noise = tf.TensorSpec((), tf.bool, "same_noise")
    found = {
        "serving_default": [images],
        "log_likelihood": [images, importance_samples, seed],
        **({"encode": [images], "posterior": [images]} if config.num_levels else {}),
        "score_given_noise": [images, *noise],
        "sample": [num_samples, seed],
        "reconstruct": [images, seed],
        **({"decode": [latents[0], same_noise, seed]} if latents else {}),
        **({"decode_top": [latents[-1], same_noise, seed]} if len(latents) > 1 else {}),
        "complete": [images, keep_rows, seed],
        "complete_mask": [images, mask, seed],
    }
    return {name: [*arguments, *label] for name, arguments in found.items()}


def meanings(config: ModelConfig) -> dict[str, str]:
    """Returns the meaning and the unit of every argument and output of the endpoints."""
    of_level = {
        f"z{level}_{name}": f"{what} of the posterior of z{level}"
        for level in range(1, config.num_levels + 1)
        for name, what in {"mean": "mean", "scale": "standard deviation", "sample": "a sample"}.items()
    }
    latents = {
        f"z{level}": f"latents of z{level}, such as z{level}_sample of encode: (batch, ...) as encode gives them"
        for level in range(1, config.num_levels + 1)
    }
    noise = {
        f"noise_z{level}": f"standard normal noise of z{level}: zeros for the posterior's mean"
        for level in range(1, config.num_levels + 1)
    }
    kl = {
        f"kl_z{level}_nats": f"the rate of z{level}: KL of its posterior from its prior, nats an image"
        for level in range(1, config.num_levels + 1)
    }
    return {
        "images": f"integers 0..{config.pixel_levels - 1}, (batch, height, width, colors)",
        "mask": "true where a pixel is kept, (1 or batch, height, width)",
        "num_samples": "images to draw, 1 or more",
        "importance_samples": "latent samples an image, 1 or more; the estimate rises with it in expectation",
        "keep_rows": f"rows to keep, 0..{config.image_shape[0]}",
        "label": f"class of all images, (1,), or of each: 0..{config.num_classes - 1}, as `classes` names them",
        "seed": "of all the noise: the same seed repeats the result",
        "elbo_nats": f"{'a lower bound on' if config.num_levels else 'exactly'} log p(x), nats an image",
        "bits_per_dim": "-elbo_nats in bits a dimension (pixel and color): low for images like the training data",
        "reconstruction_nats": "the distortion -log p(x | z1), nats an image",
        "log_likelihood_nats": f"log p(x), {'estimated' if config.num_levels else 'exact'}, nats an image",
        "same_noise": "true draws all images with the same noise, so that they differ in their latents alone",
        **of_level,
        **latents,
        **noise,
        **kl,
    }


def export(model: PixelVAE, output: pathlib.Path, record: dict, keras_file: bool = False, xla: bool = True) -> dict:
    """Writes a SavedModel completely or not at all, in place of an earlier one.

    Args:
        model: the model with the weights to export.
        output: the folder, from `check_output`.
        record: JSON values that say where the model comes from.
        keras_file: also write the model as a `.keras` file.
        xla: compile the loops of the samplers and the gates with XLA, as the package does. False gives a graph for
            servers without XLA, which is slower and rounds differently.

    Returns:
        The content of export.json: the record, the configuration of the model, and the endpoints.
    """
    with files.replacing_folder(output) as folder:
        with contextlib.nullcontext() if xla else nested_functions_inlined():
            endpoints = _write_saved_model(model, folder)
        if keras_file:
            model.save(folder / KERAS_FILE)
        contents = {
            "format": _FORMAT,
            **record,
            "model": model.config.to_dict(),
            "xla": xla,
            "endpoints": endpoints,
            "left_out": {
                name: "this model has no latents" for name in ("encode", "posterior", "decode") if name not in endpoints
            },
        }
        # Written last, so a folder with this file is complete.
        files.write_json(folder / RECORD, contents)
    return contents


def _write_saved_model(model: PixelVAE, folder: pathlib.Path) -> dict:
    archive, functions, described = keras.export.ExportArchive(), Endpoints(model), {}
    for name, arguments in signatures(model.config).items():
        function = archive.add_endpoint(name, getattr(functions, name), arguments)
        outputs = function.get_concrete_function().structured_outputs
        does = getattr(functions, name).__doc__
        described[name] = {
            "does": does,
            "inputs": {spec.name: _described(spec, spec.name, model.config) for spec in arguments},
            "outputs": {key: _described(value, key, model.config) for key, value in outputs.items()},
        }
    archive.write_out(str(folder), verbose=False)
    return described


def _described(tensor, name: str, config: ModelConfig) -> dict:
    shape = [-1 if size is None else size for size in tensor.shape]
    return {"dtype": tensor.dtype.name, "shape": shape, "is": meanings(config)[name]}


@contextlib.contextmanager
def nested_functions_inlined() -> Iterator[None]:
    """Traces without nested functions, and without compilation."""
    tf.config.run_functions_eagerly(True)
    try:
        with compiling(by_xla=False):
            yield
    finally:
        tf.config.run_functions_eagerly(False)


def check_output(path: str, name: str = "--output") -> pathlib.Path:
    """Returns the folder to export to: a new one, an empty one, or an earlier export to replace.

    Args:
        path: path of the folder.
        name: name of the flag or argument, for messages.

    Raises:
        FileError: for anything else, or if it cannot be written; the message names the flag and the remedy.
    """
    if not path:
        raise FileError(f"{name} is empty: name a folder")
    # Resolved to an absolute path, so that it has a name, and the target of a link is replaced instead of the link.
    output = pathlib.Path(path).resolve()
    files.remove_leftovers(output.parent, output.name)
    if output.exists() and not output.is_dir():
        raise FileError(f"{name}={path}: is a file; name a folder")
    held = {item.name for item in output.iterdir()} if output.is_dir() else set()
    if held and not _is_export(output):
        raise FileError(f"{name}={path}: is not empty and holds no export; choose another folder")
    if held - _OWN:
        raise FileError(f"{name}={path}: holds an export and {min(held - _OWN)!r}, which would be lost; move it away")
    parent = next(folder for folder in output.parents if folder.exists())
    if not parent.is_dir():
        raise FileError(f"{name}={path}: {parent} is a file; choose another folder")
    if reason := files.unwritable(parent):
        raise FileError(f"{name}={path}: the folder {parent} may not be written ({reason}); choose another folder")
    return output


def _is_export(folder: pathlib.Path) -> bool:
    try:
        return files.read_json(folder / RECORD)["format"] == _FORMAT
    except (FileError, KeyError, TypeError):
        return False
