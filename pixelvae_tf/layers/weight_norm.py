"""Weight normalization (Salimans & Kingma 2016) for Keras's linear layers; Keras itself lacks it.

Each layer is the Keras layer of the same name with the weight v replaced by gain * v / |v|. The norm runs over all axes
except the output axis. The gain starts at the initial norm, so normalization does not change the initial function.
"""

from __future__ import annotations

import keras
from keras import ops


class WeightNormalization:
    """Mixin that goes before a Keras layer with a `kernel`: adds the gain, and saves and restores it.

    Args:
        weight_normalization: False does not change the Keras layer.
    """

    kernel_output_axis = -1

    def __init__(self, *args, weight_normalization: bool = True, **kwargs):
        super().__init__(*args, **kwargs)
        self.weight_normalization = weight_normalization
        self.gain = None

    def build(self, input_shape):
        super().build(input_shape)
        if self.weight_normalization:
            units = self.kernel.shape[self.kernel_output_axis]
            self.gain = self.add_weight(
                name="gain", shape=(units,), initializer=lambda shape, dtype: ops.cast(self._norm(self.kernel), dtype)
            )

    def _norm(self, kernel):
        """Returns the Euclidean norm of each output unit's weights, (units,), float32."""
        kernel = self.visible_kernel(ops.cast(kernel, "float32"))
        output_axis = self.kernel_output_axis % len(kernel.shape)
        axes = [axis for axis in range(len(kernel.shape)) if axis != output_axis]
        return ops.sqrt(ops.sum(ops.square(kernel), axis=axes) + 1e-12)

    def visible_kernel(self, kernel):
        """Returns the kernel with zeros for weights that a mask hides; masked layers override it."""
        return kernel

    def effective_kernel(self, kernel):
        """Returns the weights that the layer computes with, in its compute type."""
        kernel = self.visible_kernel(kernel)
        if self.gain is None:
            return kernel
        factor = ops.cast(self.gain, "float32") / self._norm(kernel)
        shape = [1] * len(kernel.shape)
        shape[self.kernel_output_axis] = -1
        return ops.cast(ops.cast(kernel, "float32") * ops.reshape(factor, shape), kernel.dtype)

    def save_own_variables(self, store):
        # Keras's layers store only the kernel and the bias; the base class stores all variables.
        keras.Layer.save_own_variables(self, store)

    def load_own_variables(self, store):
        keras.Layer.load_own_variables(self, store)

    def get_config(self):
        return {**super().get_config(), "weight_normalization": self.weight_normalization}


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class Dense(WeightNormalization, keras.layers.Dense):
    """`keras.layers.Dense` with weight normalization."""

    def call(self, inputs):
        outputs = ops.matmul(inputs, self.effective_kernel(self.kernel))
        if self.use_bias:
            outputs = ops.add(outputs, self.bias)
        return outputs if self.activation is None else self.activation(outputs)


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class Conv2D(WeightNormalization, keras.layers.Conv2D):
    """`keras.layers.Conv2D` with weight normalization."""

    def convolution_op(self, inputs, kernel):
        return super().convolution_op(inputs, self.effective_kernel(kernel))


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class Conv2DTranspose(WeightNormalization, keras.layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose` with weight normalization; its kernel is (height, width, outputs, inputs)."""

    kernel_output_axis = -2

    def call(self, inputs):
        outputs = ops.conv_transpose(
            inputs,
            self.effective_kernel(self.kernel),
            strides=list(self.strides),
            padding=self.padding,
            output_padding=self.output_padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        if self.use_bias:
            outputs = ops.add(outputs, self.bias)
        return outputs if self.activation is None else self.activation(outputs)
