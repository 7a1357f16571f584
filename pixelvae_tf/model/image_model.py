"""The methods of a model for users: integer images in, arrays out, every random result from a seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from pixelvae_tf.config import ModelConfig
from pixelvae_tf.errors import UserError
from pixelvae_tf.model import checks
from pixelvae_tf.model.codes import CodedModel
from pixelvae_tf.model.graphs import Encoding, Graphs, checked_sampler
from pixelvae_tf.model.settings import precision
from pixelvae_tf.probability import randomness
from pixelvae_tf.probability.objectives import ElboTerms
from pixelvae_tf.sampling.noise import checked_temperatures, draw_noise, sources_of_noise, varying_noise


class ImageModel(CodedModel):
    """A Keras model of integer images. It checks its arguments and calls its graphs.

    Its methods use only `config` and `graphs`. A subclass defines the distributions that the graphs compute.

    Args:
        config: the network.
        graphs: makes the graphs of a model, given the model.
        dtype: the precision, see `settings.precision`.

    Attributes:
        graphs: the functions of tensors behind the methods, for a tf.function or a dataset's map.
    """

    def __init__(self, config: ModelConfig, graphs: Callable[..., Graphs] = Graphs, dtype=None, **kwargs):
        # Noise and latents are always float32.
        super().__init__(autocast=False, dtype=precision(dtype), **kwargs)
        self.config = config
        self.graphs = graphs(self)

    def elbo(self, images, seed: int = 0, label=None) -> ElboTerms:
        """Computes the bound of each image and its terms, in nats.

        Args:
            images: integers 0..levels-1, (batch, height, width, colors).
            seed: seed of the latent noise.
            label: for a model of classes: the class of all images 0..classes-1, or an array (batch,).

        Returns:
            `ElboTerms` of (batch,) arrays; `elbo` is -(reconstruction + sum of kl).

        Raises:
            ValueError: for images of a wrong shape, type or range, or a label that is missing or not a class.
        """
        seed = checks.seed_outside_graphs(seed, "elbo")
        images = checks.images_outside_graphs(images, self.config)
        label = checks.labels_outside_graphs(label, len(images), self.config)
        return tf.nest.map_structure(np.asarray, self.graphs.elbo(images, seed, *label))

    def log_likelihood(self, images, importance_samples: int = 50, seed: int = 0, label=None) -> np.ndarray:
        """Estimates log p(x) of each image by importance sampling, in nats; exact for a model without latents.

        Args:
            images: integers 0..levels-1, (batch, height, width, colors).
            importance_samples: latent samples per image. In expectation, the estimate is a bound that rises with them.
            seed: seed of the latent noise.
            label: see `elbo`.

        Returns:
            (batch,) float32.

        Raises:
            ValueError: for fewer than one sample, and as `elbo` does.
        """
        seed = checks.seed_outside_graphs(seed, "log_likelihood")
        importance_samples = checks.whole_number(importance_samples, "importance_samples")
        images = checks.images_outside_graphs(images, self.config)
        label = checks.labels_outside_graphs(label, len(images), self.config)
        return np.asarray(self.graphs.log_likelihood(images, tf.constant(importance_samples), seed, *label))

    def encode(self, images, seed: int = 0, label=None) -> Encoding:
        """Returns posterior means, scales and samples of every level.

        Args:
            images: integers 0..levels-1, (batch, height, width, colors).
            seed: seed of the samples.
            label: see `elbo`.

        Returns:
            `Encoding` of tuples over levels, z1 first, of (batch, channels) or (batch, height, width, channels)
            arrays.

        Raises:
            ValueError: as `elbo` does.
        """
        seed = checks.seed_outside_graphs(seed, "encode")
        images = checks.images_outside_graphs(images, self.config)
        label = checks.labels_outside_graphs(label, len(images), self.config)
        return tf.nest.map_structure(np.asarray, self.graphs.encode(images, seed, *label))

    def sample(
        self, num_samples: int, seed: int = 0, temperature=1.0, method: str = "cached", label=None
    ) -> np.ndarray:
        """Draws images from the model.

        Args:
            num_samples: number of images.
            seed: seed of all the noise.
            temperature: below 1 favors likely values. One number for all, or a sequence with one for the pixels and one
                for each level of latents, z1 first. It divides logits and multiplies the scales of latents.
            method: "cached", or "naive" for a full pass of the decoder for every pixel: slow, with the same images.
            label: for a model of classes: the class to draw 0..classes-1, or an array (num_samples,).

        Returns:
            (num_samples, height, width, colors) uint8.

        Raises:
            ValueError: for fewer than one sample, a temperature that is not positive, an unknown method, or a label
                that is missing or not a class.
        """
        seed = checks.seed_outside_graphs(seed, "sample")
        num_samples = checks.whole_number(num_samples, "num_samples")
        label = checks.labels_outside_graphs(label, num_samples, self.config)
        return self._drawn(draw_noise(self.config, num_samples, seed), temperature, method, label)

    def sample_varying(
        self, vary: str, rows: int, columns: int, seed: int = 0, temperature=1.0, method: str = "cached", label=None
    ) -> np.ndarray:
        """Draws a grid in which only one level's noise varies along each row (Figure 6).

        Args:
            vary: "top" (the topmost level of latents), "middle" (the levels below it) or "pixels".
            rows: number of independent draws of the constant noise.
            columns: number of draws of the varying noise.
            seed: seed of all the noise.
            temperature, method: see `sample`.
            label: for a model of classes: the class of all images, or an array (rows,).

        Returns:
            (rows * columns, height, width, colors) uint8, row after row.

        Raises:
            ValueError: for a level that the model does not have, or an empty grid, and as `sample` does.
        """
        seed = checks.seed_outside_graphs(seed, "sample_varying")
        known = sources_of_noise(self.config)
        if vary not in known:
            raise UserError(f"vary={vary!r}: this model has {', '.join(known)}")
        rows, columns = checks.whole_number(rows, "rows"), checks.whole_number(columns, "columns")
        label = [np.repeat(rows_of, columns) for rows_of in checks.labels_outside_graphs(label, rows, self.config)]
        noise = varying_noise(self.config, rows, columns, vary, seed)
        return self._drawn(noise, temperature, method, label)

    def _drawn(self, noise, temperature, method: str, label) -> np.ndarray:
        temperatures = checked_temperatures(self.config, temperature)
        draw = self.graphs.draw[checked_sampler(method)]
        return np.asarray(draw(noise, tf.constant(temperatures, tf.float32), *label))

    def reconstruct(self, images, seed: int = 0, temperature=1.0, method: str = "cached", label=None) -> np.ndarray:
        """Draws images from p(x | z1) at a posterior sample of z1 for each given image, uint8.

        Args:
            images: integers 0..levels-1, (batch, height, width, colors).
            seed: seed of all the noise.
            temperature, method: see `sample`; the latents' temperatures apply to the posterior.
            label: see `elbo`.

        Raises:
            ValueError: for images of a wrong shape, type or range, and as `sample` does.
        """
        seed = checks.seed_outside_graphs(seed, "reconstruct")
        images = checks.images_outside_graphs(images, self.config)
        label = checks.labels_outside_graphs(label, len(images), self.config)
        known = np.zeros((1, *self.config.image_shape), bool)
        return self._completed(images, known, seed, temperature, method, label)

    def complete(
        self,
        images,
        keep_rows: int | None = None,
        seed: int = 0,
        temperature=1.0,
        method: str = "cached",
        *,
        mask=None,
        refinements: int = 0,
        label=None,
    ) -> np.ndarray:
        """Keeps the first rows of each image, or the pixels of a mask, and draws all others from the model, uint8.

        The unknown pixels are drawn in raster order, each given all known and drawn pixels before it. Later known
        pixels affect it only through the latents. These are drawn from the posterior of the image with black in place
        of unknown pixels, because the model has no posterior of an incomplete image. If black misleads the encoder,
        refine: this draws latents from the posterior of the completed image, then the unknown pixels again (the Markov
        chain of Rezende et al. 2014).

        Args:
            images: integers 0..levels-1, (batch, height, width, colors).
            keep_rows: number of rows to keep, from the top; or give `mask`.
            mask: bool, (height, width) for all images or (batch, height, width): True to keep a pixel, in all its
                colors.
            seed: seed of all the noise.
            temperature, method: see `reconstruct`.
            refinements: number of refinements, each as slow as the first completion. Without latents they do nothing.
            label: see `elbo`.

        Raises:
            ValueError: for images of a wrong shape, type or range, for both or neither of rows and mask, rows outside
                0..height, a mask of a wrong shape or type, fewer than 0 refinements, and as `sample` does.
        """
        seed = checks.seed_outside_graphs(seed, "complete")
        images = checks.images_outside_graphs(images, self.config)
        label = checks.labels_outside_graphs(label, len(images), self.config)
        known = self.checked_mask(keep_rows, mask)
        if len(known) not in (1, len(images)):
            raise UserError(f"mask of shape {known.shape}: there are {len(images)} images; give one mask, or as many")
        refinements = checks.whole_number(refinements, "refinements", least=0)
        known = np.broadcast_to(known[..., None], (len(known), *self.config.image_shape))
        blank = np.where(known, images, 0).astype("uint8")
        images = self._completed(blank, known, seed, temperature, method, label)
        for index in range(refinements if self.config.num_levels else 0):
            own_seed = randomness.stream(seed, "refinements", index)
            images = self._completed(images, known, own_seed, temperature, method, label)
        return images

    def checked_mask(self, keep_rows: int | None = None, mask=None) -> np.ndarray:
        """Returns which pixels `complete` keeps, (1 or batch, height, width) bool. Raises ValueError as it does."""
        return checks.mask_of(self.config, keep_rows, mask)

    def _completed(self, images, known, seed, temperature, method: str, label) -> np.ndarray:
        temperatures = tf.constant(checked_temperatures(self.config, temperature), tf.float32)
        complete = self.graphs.complete[checked_sampler(method)]
        return np.asarray(complete(images, known, randomness.as_seed(seed), temperatures, *label))

    # Keras's own methods, for integer images.

    def fit(self, x=None, y=None, *args, **kwargs):
        """Trains as Keras does, on integer images: an array, a dataset of batches, or (images, labels, weights).

        A model of classes needs the labels, integers 0..classes-1; others do not use them. `loss` contains the weighted
        KL of the warm-up; `val_loss` is the bound.

        Raises:
            UserError: for images of a wrong shape, type or range, or missing labels, as far as visible beforehand.
        """
        for data in (x, kwargs.get("validation_data")):
            checks.given_data(data, self.config)
        return super().fit(x, checks.labels(x, y, kwargs, self.config), *args, **kwargs)

    def evaluate(self, x=None, y=None, *args, **kwargs):
        """Evaluates as Keras does, on the same data as `fit`. Raises UserError as `fit` does."""
        checks.given_data(x, self.config)
        return super().evaluate(x, checks.labels(x, y, kwargs, self.config), *args, **kwargs)

    def predict(self, x, *args, **kwargs):
        """Returns `ElboTerms` of arrays (images,), with the noise of seed 0 in each batch. Raises as `fit` does.

        A model of classes takes a dataset of (images, labels).
        """
        checks.given_data(x, self.config)
        return super().predict(x, *args, **kwargs)

    def export(self, *args, **kwargs):
        """Raises UserError: an export has several endpoints, which `pixelvae_tf.export_model` writes."""
        raise UserError("export: use pixelvae_tf.export_model(model, folder), or python -m pixelvae_tf.export")

    def _maybe_symbolic_build(self, *args, **kwargs):
        """Does nothing. Keras would average a batch of integers over all workers to find its shapes."""

    # A saved model is for inference, and is rebuilt from its configuration.

    def get_compile_config(self):
        # Training continues from the checkpoints of a work directory.
        return None

    def get_config(self):
        return {**super().get_config(), "config": self.config.to_dict()}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "config": ModelConfig.from_dict(config["config"])})
