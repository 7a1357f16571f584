"""A convolution that sees only what is generated before the position it computes."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from pixelvae_tf.layers import masks
from pixelvae_tf.layers.incremental import ConvSteps
from pixelvae_tf.layers.weight_norm import WeightNormalization


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class MaskedConv2D(WeightNormalization, keras.layers.Conv2D):
    """`keras.layers.Conv2D` with a causal mask; keeps the image's size.

    >>> import keras
    >>> conv = MaskedConv2D(1, 3, mask_type="A", kernel_initializer="ones", weight_normalization=False)
    >>> one_pixel = keras.ops.scatter([[0, 1, 1, 0]], [1.0], (1, 3, 3, 1))
    >>> print(keras.ops.convert_to_numpy(conv(one_pixel))[0, :, :, 0])  # seen by later pixels alone
    [[0. 0. 0.]
     [0. 0. 1.]
     [1. 1. 1.]]

    The layer neither stores nor computes rows and columns that the mask hides completely: a 5x5 vertical kernel of type
    B becomes a 3x5 one, padded above. It multiplies the other hidden weights by zero, from the first call on: those of
    a later color at the current pixel, and of the right end of a raster kernel's last row.

    Args:
        filters: output feature maps.
        kernel_size: height and width of the whole kernel, odd; a horizontal stack has one row.
        mask_type: "A" hides the current position, "B" shows it.
        stack: "raster", "vertical" or "horizontal", see `masks.causal_mask`.
        colors: colors of a pixel, generated in order; channels belong to them in contiguous groups.
        parts: sets of maps in the output, each grouped by color: 2 for the halves of a gate.
        weight_normalization: see `weight_norm`.

    Attributes:
        full_kernel_size: height and width of the whole kernel, which `get_config` saves. Keras's `kernel_size` is the
            size of the stored kernel, which `build` determines.

    Shapes: (batch, height, width, inputs) to (batch, height, width, filters).

    Source: van den Oord et al. 2016a (masks), 2016b (vertical and horizontal stacks).
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        mask_type: str,
        stack: str = "raster",
        colors: int = 1,
        parts: int = 1,
        weight_normalization: bool = True,
        **kwargs,
    ):
        if mask_type not in masks.MASK_TYPES:
            raise ValueError(f"mask_type={mask_type!r}: choose one of {', '.join(masks.MASK_TYPES)}")
        if stack not in masks.STACKS:
            raise ValueError(f"stack={stack!r}: choose one of {', '.join(masks.STACKS)}")
        size = (kernel_size, kernel_size) if isinstance(kernel_size, int) else tuple(kernel_size)
        if len(size) != 2 or any(side < 1 or side % 2 == 0 for side in size):
            raise ValueError(f"kernel_size={kernel_size!r}: a masked kernel's sides are odd")
        # Keras wants a kernel size now. `build` replaces it by the size of the visible box.
        super().__init__(filters, size, padding="valid", weight_normalization=weight_normalization, **kwargs)
        self.full_kernel_size = (1, size[1]) if stack == "horizontal" else size
        self.mask_type = mask_type
        self.stack = stack
        self.colors = colors
        self.parts = parts

    def build(self, input_shape):
        mask = masks.causal_mask(
            self.full_kernel_size,
            masks.color_of_channel(input_shape[-1], self.colors),
            masks.color_of_channel(self.filters, self.colors, self.parts),
            self.mask_type,
            self.stack,
        )
        rows, columns = masks.visible_box(mask)
        self.mask = mask[rows, columns]
        self.kernel_size = self.mask.shape[:2]
        # How far the visible box reaches from the current position: rows above and below, columns left and right.
        height, width = self.full_kernel_size
        self.reach_rows = (height // 2 - rows.start, rows.stop - 1 - height // 2)
        self.reach_columns = (width // 2 - columns.start, columns.stop - 1 - width // 2)
        super().build(input_shape)

    def visible_kernel(self, kernel):
        return kernel if np.all(self.mask) else ops.multiply(kernel, ops.cast(self.mask, kernel.dtype))

    def convolution_op(self, inputs, kernel):
        return super().convolution_op(self._aligned(inputs), self.effective_kernel(kernel))

    def _aligned(self, inputs):
        """Pads the inputs where the kernel reaches outside the image, and drops the last lines that it never sees."""
        (above, below), (left, right) = self.reach_rows, self.reach_columns
        if below < 0 or right < 0:
            height, width = inputs.shape[1:3]
            inputs = inputs[:, : height + min(below, 0), : width + min(right, 0)]
        padding = [(0, 0), (above, max(below, 0)), (left, max(right, 0)), (0, 0)]
        return ops.pad(inputs, padding) if any(map(any, padding)) else inputs

    def incremental(self) -> ConvSteps:
        """Returns the convolution's steps, for inputs that arrive in the order of generation."""
        return ConvSteps(self)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        config = super().get_config()
        # Fixed by this layer.
        for name in ("strides", "padding", "data_format", "dilation_rate", "groups"):
            config.pop(name)
        return {
            **config,
            "kernel_size": self.full_kernel_size,
            "mask_type": self.mask_type,
            "stack": self.stack,
            "colors": self.colors,
            "parts": self.parts,
        }
