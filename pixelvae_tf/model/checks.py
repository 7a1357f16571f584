"""Checks the arguments of a model's methods. Each error is one line that says what is wrong and what to give."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from pixelvae_tf.config import ModelConfig, TrainConfig
from pixelvae_tf.config.base import ConfigError
from pixelvae_tf.errors import UserError
from pixelvae_tf.layers.compilation import is_compiling_whole
from pixelvae_tf.probability.seeds import checked_seed


def whole_number(value, name: str, least: int = 1) -> int:
    """Converts the value to an int. Raises UserError for anything but a whole number of at least `least`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise UserError(f"{name}={value!r}: give a whole number")
    if value < least:
        raise UserError(f"{name}={value}: use {least} or more")
    return int(value)


def seed_outside_graphs(seed, method: str) -> int:
    """Checks the seed of a method that returns arrays. Raises UserError inside a graph, where there are no arrays."""
    if not tf.executing_eagerly():
        raise UserError(
            f"{method}: gives arrays, which a tf.function or a dataset's map cannot have; use the functions of "
            f"model.graphs there"
        )
    return checked_seed(seed)


def images_outside_graphs(images, config: ModelConfig) -> np.ndarray:
    """Converts images to a uint8 array. Raises UserError for a wrong shape, type or range."""
    if tf.is_tensor(images) and not hasattr(images, "numpy"):
        raise UserError("images: are tensors of a graph; use the functions of model.graphs, such as model.graphs.elbo")
    images = np.asarray(images)
    if images.ndim and not len(images):
        raise UserError(f"images of shape {images.shape}: give one or more, (batch, {_listed(config.image_shape)})")
    _check_shape_and_type(images.shape, images.dtype, config)
    _check_range(images, config)
    return images.astype("uint8")


def _check_shape_and_type(shape, dtype, config: ModelConfig) -> None:
    wanted, top = config.image_shape, config.pixel_levels - 1
    own = shape[1:]
    if len(shape) != 4 or any(size not in (None, side) for size, side in zip(own, wanted, strict=True)):
        remedy = "; put images into batches" if tuple(shape) == wanted else ""
        raise UserError(f"images of shape {tuple(shape)}: this model takes (batch, {_listed(wanted)}){remedy}")
    if not tf.as_dtype(dtype).is_integer:
        raise UserError(f"images of type {tf.as_dtype(dtype).name}: give integers 0..{top}, for example uint8")


def _check_range(images: np.ndarray, config: ModelConfig) -> None:
    if images.size and (images.min() < 0 or images.max() >= config.pixel_levels):
        raise UserError(f"pixels {images.min()}..{images.max()}: this model takes 0..{config.pixel_levels - 1}")


def images_in_graph(images, config: ModelConfig):
    """Checks the type and shape of images now, and their pixels when the graph runs.

    Raises:
        UserError: for a wrong type or shape; the graph raises InvalidArgumentError for a wrong range.
    """
    images = tf.convert_to_tensor(images)
    if images.shape.rank is not None:
        _check_shape_and_type(images.shape.as_list(), images.dtype, config)
    top = config.pixel_levels - 1
    if images.dtype == tf.uint8 and top == 255:
        return images
    inside = images <= tf.cast(top, images.dtype)
    if not images.dtype.is_unsigned:
        inside &= images >= 0
    return require(images, inside, f"images: this model takes pixels 0..{top}")


def require(value, condition, message: str):
    """Returns the value if the condition holds when the graph runs; else raises InvalidArgumentError.

    A graph that XLA compiles whole has no check: it must come before.
    """
    if is_compiling_whole():
        return value
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(condition), [message])]):
        return tf.identity(value)


def one_temperature(value) -> float:
    """Returns the temperature of the pixels. Raises UserError for several numbers, or one that is not positive."""
    if np.ndim(value) > 1 or np.size(value) != 1:
        raise UserError(f"temperature={value}: the latents are given; give one number, of the pixels")
    value = float(np.ravel(value)[0])
    if not 0 < value < np.inf:
        raise UserError(f"temperature={value}: use a positive number; 1 is the model's own")
    return value


def latents_outside_graphs(z, config: ModelConfig) -> tuple[int, np.ndarray]:
    """Returns the number of the lowest given level of latents, from 0, and its values, float32.

    Args:
        z: an array of z1, (batch, channels) or (batch, height, width, channels); or a list or tuple with an array or
            None for each level, z1 first.
        config: the configuration of the model.

    Raises:
        UserError: for a wrong number of levels, if no level is given, or for values of a wrong shape or type.
    """
    levels = list(z) if isinstance(z, (list, tuple)) else [z, *[None] * (config.num_levels - 1)]
    if len(levels) != config.num_levels:
        raise UserError(
            f"z has {len(levels)} levels: this model has {config.num_levels}; give an array or None for each, z1 first"
        )
    given = {
        level: _latents(values, f"z{level + 1}", config.latent_shapes[level])
        for level, values in enumerate(levels)
        if values is not None
    }
    if not given:
        raise UserError("z: no level is given; give one, or use sample")
    counts = sorted({len(values) for values in given.values()})
    if len(counts) > 1:
        raise UserError(f"z: the levels have {' and '.join(map(str, counts))} examples; give as many of each")
    lowest = min(given)
    return lowest, given[lowest]


def _latents(values, name: str, wanted: tuple[int, ...]) -> np.ndarray:
    values = np.asarray(values)
    if values.dtype.kind not in "fiu":
        raise UserError(f"{name} of type {values.dtype.name}: give numbers, for example float32")
    if values.shape[1:] != wanted or not values.shape[:1] or not len(values):
        raise UserError(f"{name} of shape {values.shape}: this model takes (batch, {_listed(wanted)})")
    values = values.astype("float32")
    if not np.isfinite(values).all():
        raise UserError(f"{name}: has values that are not finite; give finite numbers")
    return values


def labels_outside_graphs(label, count: int, config: ModelConfig) -> tuple[np.ndarray, ...]:
    """Returns the classes of images as the last arguments of a graph.

    Args:
        label: one class for all images, or an array (count,).
        count: number of images.
        config: the configuration of the model.

    Returns:
        (labels,), with int32 labels of shape (count,); an empty tuple for a model without classes.

    Raises:
        UserError: for labels that are missing, of a wrong number or type, or not classes of the model; for any label
            if the model has no classes.
    """
    if not _takes_label(label, config):
        return ()
    labels = np.asarray(label)
    if labels.dtype.kind not in "iu":
        raise UserError(f"label of type {labels.dtype.name}: {_classes(config)}")
    if labels.ndim and labels.shape != (count,):
        raise UserError(f"label of shape {labels.shape}: there are {count} images; give one class for all, or as many")
    if labels.size and (labels.min() < 0 or labels.max() >= config.num_classes):
        wrong = labels[(labels < 0) | (labels >= config.num_classes)].flat[0] if labels.ndim else labels
        raise UserError(f"label={wrong}: {_classes(config)}")
    return (np.broadcast_to(labels, (count,)).astype("int32"),)


def label_in_graph(label, config: ModelConfig):
    """Converts the classes of a batch to int32 and checks their range when the graph runs; None without classes.

    Raises:
        UserError: as `labels_outside_graphs` does; the graph raises InvalidArgumentError for a wrong range.
    """
    if not _takes_label(label, config):
        return None
    label = tf.convert_to_tensor(label)
    _check_labels(label.shape, label.dtype, config)
    inside = (label >= 0) & (label < config.num_classes)
    return tf.cast(require(label, inside, f"label: {_classes(config)}"), tf.int32)


def _takes_label(label, config: ModelConfig) -> bool:
    if label is None and config.num_classes:
        raise UserError(f"label: is missing; this model is conditional on the class of an image: {_classes(config)}")
    if label is not None and not config.num_classes:
        raise UserError("label: this model has no classes (num_classes=0); leave it out")
    return label is not None


def _check_labels(shape, dtype, config: ModelConfig) -> None:
    if not tf.as_dtype(dtype).is_integer:
        raise UserError(f"label of type {tf.as_dtype(dtype).name}: {_classes(config)}")
    if tf.TensorShape(shape).rank not in (None, 1):
        raise UserError(f"label of shape {tuple(shape)}: give (batch,), a class of each image")


def _classes(config: ModelConfig) -> str:
    return f"give whole numbers 0..{config.num_classes - 1}, one for each class"


def batch_of(data, config: ModelConfig) -> tuple:
    """Unpacks the data that `fit` passes to a step: images, labels and weights of the examples.

    The labels are None for a model without classes. The weights are None if there are none.

    Raises:
        UserError: for a dictionary, which TensorFlow Datasets yields, or images without labels for a model of classes.
    """
    if isinstance(data, dict):
        wanted = '(example["image"], example["label"])' if config.num_classes else 'example["image"]'
        raise UserError(
            f"the data is a dictionary of {', '.join(map(repr, data))}: give its images "
            f"{'with their labels' if config.num_classes else 'alone'}, for example .map(lambda example: {wanted})"
        )
    images, label, weights = keras.utils.unpack_x_y_sample_weight(data)
    if isinstance(images, dict):
        return batch_of(images, config)
    if config.num_classes and label is None:
        raise UserError(f"the data has images without labels: give (images, labels); {_classes(config)}")
    return images, label if config.num_classes else None, weights


def given_data(data, config: ModelConfig) -> None:
    """Checks the data before `fit`, `evaluate` or `predict` start, as far as possible. Raises UserError."""
    if isinstance(data, tf.data.Dataset):
        images, label, _ = batch_of(data.element_spec, config)
        _check_shape_and_type(images.shape.as_list(), images.dtype, config)
        if label is not None:
            _check_labels(label.shape, label.dtype, config)
    elif isinstance(data, (tuple, list)) and len(data) and not np.isscalar(data[0]) and len(np.shape(data[0])) == 4:
        given_data(data[0], config)
        if config.num_classes:
            labels_outside_graphs(batch_of(tuple(data), config)[1], len(data[0]), config)
    elif isinstance(data, dict):
        batch_of(data, config)
    elif isinstance(data, np.ndarray) or (tf.is_tensor(data) and hasattr(data, "numpy")):
        images_outside_graphs(data, config)


def labels(x, y, arguments: dict, config: ModelConfig):
    """Returns the labels for Keras's `fit`, which drops the weights of examples without labels.

    Raises:
        UserError: for class weights without labels; for arrays of a model of classes, as `labels_outside_graphs` does.
    """
    if config.num_classes and isinstance(x, np.ndarray):
        return labels_outside_graphs(y, len(x), config)[0]
    if y is not None or isinstance(x, tf.data.Dataset):
        return y
    if arguments.get("class_weight") is not None:
        raise UserError("class_weight: give the classes of the images as y")
    return np.zeros(len(x), "int32") if arguments.get("sample_weight") is not None else None


def mask_of(config: ModelConfig, keep_rows: int | None, mask) -> np.ndarray:
    """Returns which pixels `complete` keeps, (1 or batch, height, width) bool. Raises UserError as it does."""
    if (keep_rows is None) == (mask is None):
        raise UserError("keep_rows, mask: give one of the two, to say which pixels are kept")
    height, width, _ = config.image_shape
    if mask is None:
        if isinstance(keep_rows, bool) or not isinstance(keep_rows, (int, np.integer)) or not 0 <= keep_rows <= height:
            raise UserError(f"keep_rows={keep_rows}: the images have {height} rows; use 0 to {height}")
        return np.broadcast_to((np.arange(height) < keep_rows)[None, :, None], (1, height, width))
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.ndim not in (2, 3) or mask.shape[-2:] != (height, width):
        raise UserError(
            f"mask of shape {mask.shape} and type {mask.dtype}: give ({height}, {width}) or (batch, {height}, "
            f"{width}) bool, True where a pixel is kept"
        )
    return mask if mask.ndim == 3 else mask[None]


# For each argument of `compile`, the field of `TrainConfig` that checks its value.
_COMPILED = {
    "kl_warmup_steps": "kl_warmup_steps",
    "prior_scale_floor_steps": "prior_scale_floor_steps",
    "clip_value": "gradient_clip_value",
    "clip_norm": "gradient_clip_norm",
    "ema_decay": "ema_decay",
    "dropout": "dropout",
    "kl_weight": "kl_weight",
    "free_bits": "free_bits",
    "compile_step": "compile_step",
    "seed": "seed",
}
_OF_THE_LOSS = ("loss", "loss_weights", "metrics", "weighted_metrics")


def compile_arguments(settings: dict, keras_arguments: dict) -> None:
    """Checks the arguments of `compile` in the same way as flags.

    Raises:
        UserError: for a value that is not allowed, or a loss or metrics in addition to the bound.
    """
    for name in _OF_THE_LOSS:
        if keras_arguments.get(name) is not None:
            raise UserError(f"{name}: this model's loss and metrics are the bound and its terms; leave it out")
    for name, value in settings.items():
        try:
            TrainConfig(**{_COMPILED[name]: value.item() if isinstance(value, np.generic) else value})
        except ConfigError as error:
            raise ConfigError(str(error).removeprefix("gradient_")) from None


def _listed(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
