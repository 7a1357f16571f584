"""A model's walk over the positions of an image, at each of which it stops to be told the value there.

An encoder knows the values and a decoder reads them from a file. Both take this walk, the same graph with the same
compiled steps, with as many images side by side: a full pass of the network differs from it in the last bits, and so
can a loop that was compiled whole, or a product with more rows. Rows without an image are walked all the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from pixelvae_tf.layers.compilation import compiled
from pixelvae_tf.model.settings import own_settings
from pixelvae_tf.sampling.cached import Latents, Pixels, draw_in_raster_order, padding

# Takes what the model says of the values at some positions, (positions, batch, numbers), and gives these values,
# (positions, batch, channels). A position of an image is a color of a pixel.
Visitor = Callable[[np.ndarray], np.ndarray]


class PixelWalk:
    """Over the pixels given z1, row by row, the colors of a pixel in turn.

    Shows the probabilities of all levels, and takes integers (one channel).

    Args:
        model: a `PixelVAE`.
        batch_size: images side by side, always as many.
    """

    def __init__(self, model, batch_size: int):
        config = model.config
        self.model = model
        self.decoder = model.pixel_decoder
        self.variable = Pixels(model, temperature=1.0)
        self.shape = config.image_shape[:2]
        self._walk = _Walk(self, batch_size, config.latent_shapes[:1])

    def __call__(self, z1: np.ndarray | None, visitor: Visitor) -> None:
        self._walk(() if z1 is None else (z1,), visitor)

    def shown(self, parameters):
        """The probabilities of all levels, (batch, levels), from the network's output for one color of a pixel."""
        return tf.exp(self.model.p_x_from_parameters(parameters[:, None, None]).log_probs()[:, 0, 0, 0])

    def shown_at_once(self, condition: dict, batch_size: int):
        """The same of all positions, (rows, columns * colors, batch, levels), where they are independent given z1."""
        images = tf.zeros((batch_size, *self.model.config.image_shape), tf.int32)
        log_probs = self.model.p_x_given_z1(images, condition).log_probs()
        rows, columns, colors, levels = log_probs.shape[1:]
        return tf.reshape(
            tf.exp(tf.transpose(log_probs, (1, 2, 3, 0, 4))), (rows, columns * colors, batch_size, levels)
        )


class LatentWalk:
    """Over a level of latents below the topmost, given the level above, in raster order.

    Shows the means and scales of all channels at a position, side by side, and takes the values of all channels.

    Args:
        model: a `PixelVAE`.
        level: of the latents, 0 for z1.
        batch_size: images side by side, always as many.
    """

    def __init__(self, model, level: int, batch_size: int):
        latent_shapes = model.config.latent_shapes
        self.model, self.level = model, level
        self.decoder = model.latent_decoders[level]
        self.variable = Latents(model, level)
        self.shape = latent_shapes[level][:2]
        self._walk = _Walk(self, batch_size, latent_shapes[level + 1 : level + 2])

    def __call__(self, z_upper: np.ndarray, visitor: Visitor) -> None:
        self._walk((z_upper,), visitor)

    def shown(self, parameters):
        """Means and scales, (batch, 2 * channels), from the network's output at a position."""
        return tf.concat(self.model.p_z_from_parameters(parameters), axis=-1)

    def shown_at_once(self, condition: dict, batch_size: int):
        """The same of all positions, (rows, columns, batch, 2 * channels), where they are independent."""
        z = tf.zeros((batch_size, *self.model.config.latent_shapes[self.level]))
        gaussian = self.model.p_z_given_upper(self.level, z, condition)
        return tf.transpose(tf.concat(gaussian, axis=-1), (1, 2, 0, 3))


class _Walk:
    """The graph of a walk, traced once, and the visitors of those who are on it, in several threads perhaps.

    Args:
        path: a `PixelWalk` or `LatentWalk`.
        batch_size: images side by side.
        given: shapes of what the decoder is given, without the batch: of no latents or of one level.
    """

    def __init__(self, path, batch_size: int, given: tuple):
        self.path, self.batch_size = path, batch_size
        self._visitors: dict[int, Visitor] = {}
        self._errors: dict[int, Exception] = {}
        self._numbers = itertools.count()
        latents = tuple(tf.TensorSpec((batch_size, *shape), tf.float32) for shape in given)
        number = tf.TensorSpec((), tf.int64)
        self._graph = tf.function(self._walk, input_signature=(number, latents), autograph=False)

    def __call__(self, latents: tuple, visitor: Visitor) -> None:
        number = next(self._numbers)
        self._visitors[number] = visitor
        try:
            self._graph(tf.constant(number, tf.int64), tuple(map(tf.constant, latents)))
        except tf.errors.OpError:
            if number in self._errors:
                raise self._errors.pop(number) from None
            raise
        finally:
            del self._visitors[number]

    def _walk(self, number, latents: tuple):
        path, batch_size = self.path, self.batch_size
        with own_settings():
            condition = path.decoder.condition(*latents or (None,))
            if path.decoder.masked is None:
                shown = path.shown_at_once(condition, batch_size)
                return tf.map_fn(lambda row: self._visit(number, row), shown, fn_output_signature=path.variable.dtype)
            steps = path.decoder.incremental(**condition)
            # The noise of a drawing tells the loop how far to go.
            positions = tf.zeros((*path.shape, 1, 1))
            return draw_in_raster_order(steps, path.variable, positions, batch_size, self._row_visitor(number))

    def _visit(self, number, shown):
        """The visitor's answer, as the operation of a graph."""
        values = tf.numpy_function(self._answer, [number, shown], self.path.variable.dtype)
        return tf.ensure_shape(values, (*shown.shape[:2], self.path.variable.channels))

    def _answer(self, number, shown):
        try:
            return self._visitors[int(number)](shown)
        except Exception as error:
            # TensorFlow would turn it into one of its own.
            self._errors[int(number)] = error
            raise

    def _row_visitor(self, number):
        def row_drawer(steps, variable, columns: int):
            def stepping(color: int):
                def step(windows, from_above, column, newest):
                    here = tf.nest.map_structure(lambda row: row[column], from_above)
                    windows, parameters = steps.pixel(windows, here, newest, color)
                    finished = steps.finished(windows) if color == variable.colors - 1 else ()
                    return windows, self.path.shown(parameters), finished

                return compiled(step)

            step_of_color = [stepping(color) for color in range(variable.colors)]

            def visit_row(from_above, _, batch_size):
                def visit(column, windows, newest, seen):
                    values = []
                    for color, step in enumerate(step_of_color):
                        windows, shown, finished = step(windows, from_above, column, newest)
                        values.append(self._visit(number, shown[None])[0])
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
