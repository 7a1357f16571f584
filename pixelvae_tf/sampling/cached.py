"""Ancestral sampling that computes nothing twice. A batch takes at most a few times as long as one forward pass.

The networks provide their steps (see `layers.incremental`). This module has the two loops over them. A step of the
outer loop computes a row of the vertical stacks by convolutions, which run fastest as ordinary operations of the graph
(on the CPU in 0.4 of the time under XLA). A step of the inner loop computes a pixel by small products and element-wise
chains, which run fastest if the whole loop is compiled.

Arrays in the order of generation are (rows, columns, batch, channels), so rows and pixels are contiguous.
"""

from __future__ import annotations

import tensorflow as tf

from pixelvae_tf.layers.compilation import compiled
from pixelvae_tf.layers.incremental import Steps
from pixelvae_tf.processor import cores
from pixelvae_tf.sampling.ancestral import sample_latents

# A part of a batch with fewer images would not keep a core busy.
_SMALLEST_PART = 16


class Pixels:
    """Draws an integer for each color of a pixel, one color after another.

    Noise of a position: uniforms, given pixels, and which of these to keep, each (batch or 1, colors).
    """

    dtype = tf.int32
    channels = 1

    def __init__(self, model, temperature):
        self.model = model
        self.temperature = temperature
        self.colors = model.config.image_shape[-1]
        self.features = model.pixel_input.incremental().features

    def draw(self, parameters, noise, color: int):
        """Draws the values of one color at a position, (batch, 1), from the network's output there."""
        uniforms, given, known = (part[:, color : color + 1] for part in noise)
        p_x = self.model.p_x_from_parameters(parameters[:, None, None]).with_temperature(self.temperature)
        return tf.where(known, given, p_x.sample(uniforms[:, None, None])[:, 0, 0])


class Latents:
    """Draws all channels at a position of a level of maps at once. Noise: standard normals."""

    dtype = tf.float32
    colors = 1

    def __init__(self, model, level: int):
        self.model = model
        self.level = level
        self.channels = model.config.latent_channels[level]

    def features(self, values, color: int):
        """Converts values at earlier positions to the network's input."""
        return tf.cast(self.model.latent_features(values), self.model.latent_decoders[self.level].compute_dtype)

    def draw(self, parameters, noise, color: int):
        return self.model.p_z_from_parameters(parameters).sample(noise)


def draw_in_raster_order(steps: Steps, variable: Pixels | Latents, noise, batch_size, row_drawer=None):
    """Draws a variable at every position, each given those before it.

    Args:
        steps: steps of the network that computes the parameters of every position.
        variable: the variable to draw.
        noise: nest of (rows, columns, batch or 1, channels), the noise of every position for `variable.draw`.
        batch_size: number of images.
        row_drawer: makes the function that draws a row, as `row_drawer(steps, variable, columns)`; by default a
            function that XLA compiles completely.

    Returns:
        (rows, columns, batch, channels) of the variable's type.
    """
    rows, columns = tf.nest.flatten(noise)[0].shape[:2]
    draw_row = (row_drawer or _row_drawer)(steps, variable, columns)

    def draw(row, caches, features, finished, drawn):
        caches, from_above = steps.row(caches, row, features, finished)
        noise_of_row = tf.nest.map_structure(lambda part: part[row], noise)
        values, now_finished = draw_row(from_above, noise_of_row, batch_size)
        # The compiled function may lose a static batch size.
        features, finished = tf.nest.map_structure(
            lambda now, before: tf.ensure_shape(now, before.shape),
            (_features_of_row(variable, values), now_finished),
            (features, finished),
        )
        return row + 1, caches, features, finished, drawn.write(row, values)

    start = (0, *above_the_image(steps, variable, columns, batch_size), tf.TensorArray(variable.dtype, rows))
    return tf.while_loop(lambda row, *_: row < rows, draw, start, maximum_iterations=rows)[-1].stack()


def above_the_image(steps: Steps, variable: Pixels | Latents, columns: int, batch_size):
    """Returns the padding above the first row: caches, features, and results of `finished`."""
    features = tf.concat([padding(variable, (columns, batch_size))] * variable.colors, -1)
    finished = tf.nest.map_structure(
        lambda pixel: tf.zeros((columns, batch_size, pixel.shape[-1]), pixel.dtype),
        steps.finished(steps.start_pixels(batch_size)),
    )
    return steps.start_rows(columns, batch_size), features, finished


def _row_drawer(steps: Steps, variable: Pixels | Latents, columns: int):
    """Returns a compiled function that draws the pixels of a row from left to right, given the rows above."""

    @compiled
    def draw_row(from_above, noise, batch_size):
        def at(column):
            column = tf.minimum(column, columns - 1)
            return tf.nest.map_structure(lambda row: row[column], (from_above, noise))

        def draw(column, here, windows, newest, drawn):
            above, noise_here = here
            # Reads one pixel ahead: XLA would fuse an array that is read and used in one step into a slow loop.
            following, values = at(column + 1), []
            for color in range(variable.colors):
                windows, parameters = steps.pixel(windows, above, newest, color)
                values.append(variable.draw(parameters, noise_here, color))
                newest = variable.features(values[-1], color)
            results = (tf.concat(values, -1), steps.finished(windows))
            drawn = tf.nest.map_structure(lambda row, pixel: row.write(column, pixel), drawn, results)
            return column + 1, following, windows, newest, drawn

        windows, newest = steps.start_pixels(batch_size), padding(variable, (batch_size,))
        pixel = (tf.zeros((), variable.dtype), steps.finished(windows))
        drawn = tf.nest.map_structure(lambda part: tf.TensorArray(part.dtype, columns), pixel)
        start = (0, at(0), windows, newest, drawn)
        drawn = tf.while_loop(lambda column, *_: column < columns, draw, start, maximum_iterations=columns)[-1]
        return tf.nest.map_structure(lambda row: row.stack(), drawn)

    return draw_row


def _features_of_row(variable: Pixels | Latents, values):
    by_color = enumerate(tf.split(values, variable.colors, axis=-1))
    return tf.concat([variable.features(part, color) for color, part in by_color], axis=-1)


def padding(variable: Pixels | Latents, shape):
    """Returns the features of one color outside the image, (*shape, channels)."""
    return tf.zeros_like(variable.features(tf.zeros((*shape, variable.channels), variable.dtype), 0))


def sample_latents_cached(model, noise: tuple, label=None):
    """Does `sample_latents`, each level of maps in about the time of one pass of its decoder."""
    return sample_latents(model, noise, draw_level_cached, label)


def draw_level_cached(model, level: int, condition: dict, noise):
    """Computes the same as `naive.draw_level_naive`, in about the time of one pass of the decoder."""
    return _draw(model.latent_decoders[level], Latents(model, level), condition, noise)


def sample_pixels_cached(model, z1, uniforms, images=None, known=None, temperature=1.0, label=None):
    """Computes the same as `naive.sample_pixels_naive`, in about the time of one pass of the decoder."""
    if images is None:
        images = known = tf.zeros((1, *model.config.image_shape), tf.bool)
    given, known = tf.cast(images, tf.int32), tf.convert_to_tensor(known)
    condition = model.pixel_decoder.condition(z1, label)
    if model.pixel_decoder.masked is None:
        p_x = model.p_x_given_z1(given, condition).with_temperature(temperature)
        return tf.where(known, given, p_x.sample(uniforms))
    noise = (uniforms, *(tf.broadcast_to(part, tf.shape(uniforms)) for part in (given, known)))
    return _draw(model.pixel_decoder, Pixels(model, temperature), condition, noise)


def _draw(decoder, variable: Pixels | Latents, condition: dict, noise):
    """Draws all positions of a batch, in parallel parts: a loop over pixels keeps only one core busy."""
    batch_size = tf.shape(tf.nest.flatten(noise)[0])[0]
    parts = tf.clip_by_value(batch_size // _SMALLEST_PART, 1, _parts_at_once())
    size = -(-batch_size // parts)
    parts = -(-batch_size // size)  # no part is empty

    def draw_part(index, drawn):
        first = index * size
        own = tf.nest.map_structure(lambda array: array[first : first + size], (condition, noise))
        positions = tf.nest.map_structure(lambda maps: tf.transpose(maps, (1, 2, 0, 3)), own[1])
        steps = decoder.incremental(**own[0])
        values = draw_in_raster_order(steps, variable, positions, tf.minimum(size, batch_size - first))
        return index + 1, drawn.write(index, tf.transpose(values, (2, 0, 1, 3)))

    shape = (None, *tf.nest.flatten(noise)[0].shape[1:])
    drawn = tf.TensorArray(variable.dtype, parts, infer_shape=False, element_shape=shape)
    return tf.while_loop(lambda index, _: index < parts, draw_part, (0, drawn), parallel_iterations=8)[-1].concat()


def _parts_at_once() -> int:
    """Returns the number of parts of a batch to run at the same time; one on a GPU."""
    return 1 if tf.config.list_physical_devices("GPU") else cores()
