"""SOAP: Adam in coordinates that rotate with the curvature, so that each step makes more progress."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class SOAP(keras.optimizers.Optimizer):
    """Adam in the eigenbasis of Shampoo's preconditioner.

    The gradient of a kernel is a matrix G, inputs (with all taps) by outputs. The eigenvectors of the averages of G G'
    and G'G are a basis for either side, which rotates slowly during training. Adam runs in these coordinates, in which
    its element-wise scaling fits the curvature far better than in the kernel's own. Every `refresh_every` steps, one
    step of orthogonal iteration updates the bases. Vectors, and sides longer than `largest_side`, keep their own
    coordinates. The first step only measures the bases and does not change the weights.

    Args:
        learning_rate: a number or a schedule, as for Adam.
        beta_1: decay of the mean gradient.
        beta_2: decay of the mean squared gradient in the coordinates of the bases, and of G G' and G'G.
        epsilon: added to the root of the mean square.
        refresh_every: steps between updates of the bases.
        largest_side: the longest side with a basis; the basis of a longer side would cost more than it gains.

    Its state is two values for each weight, as for Adam, and two square matrices for each basis.

    Source: Vyas et al., "SOAP: Improving and Stabilizing Shampoo using Adam", ICLR 2025 (arXiv 2409.11321).
    """

    def __init__(
        self,
        learning_rate=1e-3,
        beta_1: float = 0.95,
        beta_2: float = 0.99,
        epsilon: float = 1e-8,
        refresh_every: int = 10,
        largest_side: int = 600,
        name: str = "soap",
        **kwargs,
    ):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.refresh_every = refresh_every
        self.largest_side = largest_side

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._means, self._squares = self.add_optimizer_variables(variables, ["mean", "square"])
        self._left, self._right = [], []
        for variable in variables:
            left, right = _matrix_shape(variable.shape)
            is_matrix = len(variable.shape) > 1
            self._left.append(self._side(left, is_matrix, f"{variable.name}_left"))
            self._right.append(self._side(right, is_matrix, f"{variable.name}_right"))

    def _side(self, length: int, is_matrix: bool, name: str):
        """Creates the statistics and the basis of one side, or returns None if it has no basis."""
        if not is_matrix or not 1 < length <= self.largest_side:
            return None
        shape = (length, length)
        statistics = self.add_variable(shape, initializer="zeros", name=f"{name}_statistics")
        return statistics, self.add_variable(shape, initializer="identity", name=f"{name}_basis")

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        mean, square, left, right = (kept[index] for kept in (self._means, self._squares, self._left, self._right))
        matrix = _matrix_shape(variable.shape)
        # The gradient of a table of which a step reads some rows, such as an embedding, is `tf.IndexedSlices`.
        gradient = ops.cast(tf.convert_to_tensor(gradient), variable.dtype)
        flat = ops.reshape(gradient, matrix)
        left_basis = self._turned(left, lambda: flat @ ops.transpose(flat))
        right_basis = self._turned(right, lambda: ops.transpose(flat) @ flat)

        def turn(values):
            values = values if left_basis is None else ops.transpose(left_basis) @ values
            return values if right_basis is None else values @ right_basis

        def turn_back(values):
            values = values if left_basis is None else left_basis @ values
            return values if right_basis is None else values @ ops.transpose(right_basis)

        self.assign(mean, self.beta_1 * mean + (1 - self.beta_1) * gradient)
        turned_square = ops.reshape(ops.square(turn(flat)), variable.shape)
        self.assign(square, self.beta_2 * square + (1 - self.beta_2) * turned_square)
        step = ops.cast(self.iterations + 1, variable.dtype)
        scale = ops.sqrt(ops.reshape(square, matrix) / (1 - ops.power(self.beta_2, step))) + self.epsilon
        direction = turn_back(turn(ops.reshape(mean, matrix)) / (1 - ops.power(self.beta_1, step)) / scale)
        rate = ops.where(self.iterations > 0, ops.cast(learning_rate, variable.dtype), 0.0)
        self.assign_sub(variable, rate * ops.reshape(direction, variable.shape))

    def _turned(self, side, product):
        """Adds a product to the statistics of a side, updates its basis when due, and returns the basis or None."""
        if side is None:
            return None
        statistics, basis = side
        self.assign(statistics, self.beta_2 * statistics + (1 - self.beta_2) * product())
        now, old = ops.convert_to_tensor(statistics), ops.convert_to_tensor(basis)

        def refreshed():
            return ops.cond(self.iterations > 0, lambda: ops.qr(now @ old)[0], lambda: ops.eigh(now)[1][:, ::-1])

        new = ops.cond(self.iterations % self.refresh_every == 0, refreshed, lambda: old)
        self.assign(basis, new)
        return new

    def get_config(self):
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "refresh_every": self.refresh_every,
            "largest_side": self.largest_side,
        }


def _matrix_shape(shape) -> tuple[int, int]:
    """Returns the shape as a matrix: inputs (with all taps of a kernel) by outputs. A vector is one row."""
    return int(np.prod(shape[:-1])), int(shape[-1])
