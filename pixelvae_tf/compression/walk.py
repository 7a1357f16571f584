"""Walks over the positions of images in the order of generation, and asks a visitor for the values at each.

An encoder knows the values, and a decoder reads them from a file. Both take this walk: the same graph with the same
compiled steps and the same batch size. A full pass of the network gives slightly different numbers, and so can a loop
that is compiled as a whole, or a matrix product with more rows. Rows without an image are computed too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from pixelvae_tf.layers.compilation import compiled
from pixelvae_tf.model.settings import own_settings
from pixelvae_tf.sampling.cached import Latents, Pixels, draw_in_raster_order, padding

# Maps the model's parameters at some positions, (positions, batch, numbers), to the values there, (positions, batch,
# channels). A position of an image is a color of a pixel.
Visitor = Callable[[np.ndarray], np.ndarray]


def label_signature(batch_size: int, num_classes: int) -> tuple:
    """Returns the signature of the labels of a batch as a graph takes them: a tuple of one tensor, or of none."""
    return (tf.TensorSpec((batch_size,), tf.int32),) if num_classes else ()


def optional(array: np.ndarray | None) -> tuple:
    """Returns an array as a graph takes what not every model has: a tuple of one tensor, or of none."""
    return () if array is None else (tf.constant(array),)


class PixelWalk:
    """Walks over the pixels given z1, row by row and color by color.

    It shows the probabilities of all levels, and receives integers (one channel).

    Args:
        model: a `PixelVAE`.
        batch_size: the fixed number of images in a batch.
    """

    def __init__(self, model, batch_size: int):
        config = model.config
        self.model = model
        self.decoder = model.pixel_decoder
        self.variable = Pixels(model, temperature=1.0)
        self.shape = config.image_shape[:2]
        self._walk = _Walk(self, batch_size, config.latent_shapes[:1], config.num_classes)

    def __call__(self, z1: np.ndarray | None, label: np.ndarray | None, visitor: Visitor) -> None:
        self._walk(z1, label, visitor)

    def parameters(self, condition: dict, batch_size: int):
        """Computes the network's output, (batch, rows, columns, units), for pixels that are independent given z1."""
        images = tf.zeros((batch_size, *self.model.config.image_shape), tf.uint8)
        return self.decoder(self.model.pixel_input(images), **condition)

    def shown(self, parameters):
        """Returns probabilities of all levels, (positions * colors, batch, levels), from (positions, batch, units)."""
        log_probs = self.model.p_x_from_parameters(parameters[:, :, None]).log_probs()[:, :, 0]
        positions, batch, colors, levels = log_probs.shape
        return tf.reshape(tf.exp(tf.transpose(log_probs, (0, 2, 1, 3))), (positions * colors, batch, levels))


class LatentWalk:
    """Walks over a level of latents below the topmost, given the level above, in raster order.

    It shows the means and scales of all channels at a position, side by side, and receives the values of all channels.

    Args:
        model: a `PixelVAE`.
        level: number of the level, 0 for z1.
        batch_size: the fixed number of images in a batch.
    """

    def __init__(self, model, level: int, batch_size: int):
        latent_shapes = model.config.latent_shapes
        self.model, self.level = model, level
        self.decoder = model.latent_decoders[level]
        self.variable = Latents(model, level)
        self.shape = latent_shapes[level][:2]
        self._walk = _Walk(self, batch_size, latent_shapes[level + 1 : level + 2], model.config.num_classes)

    def __call__(self, z_upper: np.ndarray, label: np.ndarray | None, visitor: Visitor) -> None:
        self._walk(z_upper, label, visitor)

    def parameters(self, condition: dict, batch_size: int):
        """Computes the output, (batch, rows, columns, units), if latents are independent given the level above."""
        z = tf.zeros((batch_size, *self.model.config.latent_shapes[self.level]))
        return self.decoder(self.model.latent_features(z), **condition)

    def shown(self, parameters):
        """Returns means and scales, (positions, batch, 2 * channels), from (positions, batch, units)."""
        return tf.concat(self.model.p_z_from_parameters(parameters), axis=-1)


class _Walk:
    """The graph of a walk, traced once, and the visitors that use it now, perhaps in several threads.

    Args:
        path: a `PixelWalk` or `LatentWalk`.
        batch_size: number of images in a batch.
        given: shapes of the decoder's latents without the batch: none, or one level.
        num_classes: number of classes whose labels the decoder takes, or 0.
    """

    def __init__(self, path, batch_size: int, given: tuple, num_classes: int):
        self.path, self.batch_size = path, batch_size
        self._visitors: dict[int, Visitor] = {}
        self._errors: dict[int, Exception] = {}
        self._numbers = itertools.count()
        z = tuple(tf.TensorSpec((batch_size, *shape), tf.float32) for shape in given)
        number = tf.TensorSpec((), tf.int64)
        signature = (number, z, label_signature(batch_size, num_classes))
        self._graph = tf.function(self._walk, input_signature=signature, autograph=False)

    def __call__(self, z: np.ndarray | None, label: np.ndarray | None, visitor: Visitor) -> None:
        number = next(self._numbers)
        self._visitors[number] = visitor
        try:
            self._graph(tf.constant(number, tf.int64), optional(z), optional(label))
        except tf.errors.OpError:
            if number in self._errors:
                raise self._errors.pop(number) from None
            raise
        finally:
            del self._visitors[number]

    def _walk(self, number, z: tuple, label: tuple):
        path, batch_size = self.path, self.batch_size
        with own_settings():
            condition = path.decoder.condition(*z or (None,), *label)
            if path.decoder.masked is None:
                rows = tf.transpose(path.parameters(condition, batch_size), (1, 2, 0, 3))
                rows = tf.ensure_shape(rows, (*path.shape, batch_size, None))
                visited = path.variable.dtype
                return tf.map_fn(lambda row: self._visit(number, path.shown(row)), rows, fn_output_signature=visited)
            steps = path.decoder.incremental(**condition)
            # The loop takes the number of positions from the shape of the noise.
            positions = tf.zeros((*path.shape, 1, 1))
            return draw_in_raster_order(steps, path.variable, positions, batch_size, self._row_visitor(number))

    def _visit(self, number, shown):
        """Calls the visitor from the graph and returns its values."""
        values = tf.numpy_function(self._answer, [number, shown], self.path.variable.dtype)
        return tf.ensure_shape(values, (*shown.shape[:2], self.path.variable.channels))

    def _answer(self, number, shown):
        try:
            return self._visitors[int(number)](shown)
        except Exception as error:
            # TensorFlow would replace it by its own error.
            self._errors[int(number)] = error
            raise

    def _row_visitor(self, number):
        def row_drawer(steps, variable, columns: int):
            def stepping(color: int):
                def step(windows, from_above, column, newest):
                    here = tf.nest.map_structure(lambda row: row[column], from_above)
                    windows, parameters = steps.pixel(windows, here, newest, color)
                    finished = steps.finished(windows) if color == variable.colors - 1 else ()
                    return windows, self.path.shown(parameters[None]), finished

                return compiled(step)

            step_of_color = [stepping(color) for color in range(variable.colors)]

            def visit_row(from_above, _, batch_size):
                def visit(column, windows, newest, seen):
                    values = []
                    for color, step in enumerate(step_of_color):
                        windows, shown, finished = step(windows, from_above, column, newest)
                        values.append(self._visit(number, shown)[0])
                        newest = variable.features(values[-1], color)
                    results = (tf.concat(values, -1), finished)
                    seen = tf.nest.map_structure(lambda row, pixel: row.write(column, pixel), seen, results)
                    return column + 1, windows, newest, seen

                windows, newest = steps.start_pixels(batch_size), padding(variable, (batch_size,))
                pixel = (tf.zeros((), variable.dtype), steps.finished(windows))
                seen = tf.nest.map_structure(lambda part: tf.TensorArray(part.dtype, columns), pixel)
                start = (0, windows, newest, seen)
                seen = tf.while_loop(lambda column, *_: column < columns, visit, start, maximum_iterations=columns)[-1]
                return tf.nest.map_structure(lambda row: row.stack(), seen)

            return visit_row

        return row_drawer
