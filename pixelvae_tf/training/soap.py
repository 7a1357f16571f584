"""SOAP: Adam in coordinates that rotate with the curvature, so that each step makes more progress."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from pixelvae_tf.layers.compilation import compiled_whole

# A processor factorizes several small matrices at a time, and a GPU waits for each of them.
_FACTORIZING = "CPU:0"


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
        compile_update: whether XLA compiles all updates as one, except those of the bases. On a GPU it takes longer to
            start the operations of small updates than to compute them. Several replicas do without.

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
        compile_update: bool = False,
        name: str = "soap",
        **kwargs,
    ):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.refresh_every = refresh_every
        self.largest_side = largest_side
        self.compile_update = compile_update

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
        self._measure(gradient, variable)
        self._refresh([variable])
        self._move(gradient, variable, learning_rate)

    def _distributed_tf_update_step(self, distribution, grads_and_vars, learning_rate):
        """Takes Keras's updates of all variables, with `compile_update` in three parts."""
        if not self.compile_update or distribution.num_replicas_in_sync > 1:
            super()._distributed_tf_update_step(distribution, grads_and_vars, learning_rate)
            return

        def measure():
            for gradient, variable in grads_and_vars:
                self._measure(gradient, variable)

        def move():
            for gradient, variable in grads_and_vars:
                self._move(gradient, variable, learning_rate)

        compiled_whole(measure)()
        self._refresh([variable for _, variable in grads_and_vars])
        compiled_whole(move)()

    def _measure(self, gradient, variable) -> None:
        """Adds the gradient to the statistics of its sides."""
        flat, (left, right) = _flat(gradient, variable), self._sides(variable)
        if left is not None:
            self._add(left[0], flat @ ops.transpose(flat))
        if right is not None:
            self._add(right[0], ops.transpose(flat) @ flat)

    def _add(self, statistics, product) -> None:
        self.assign(statistics, self.beta_2 * statistics + (1 - self.beta_2) * product)

    def _refresh(self, variables) -> None:
        """Updates the bases of the variables when that is due."""
        sides = [side for variable in variables for side in self._sides(variable) if side is not None]
        if not sides:
            return
        statistics = [ops.convert_to_tensor(now) for now, _ in sides]
        bases = [ops.convert_to_tensor(basis) for _, basis in sides]

        def refreshed():
            return ops.cond(
                self.iterations > 0,
                lambda: [_orthogonal(now @ old) for now, old in zip(statistics, bases, strict=True)],
                lambda: [_eigenvectors(now) for now in statistics],
            )

        updated = ops.cond(self.iterations % self.refresh_every == 0, refreshed, lambda: bases)
        for (_, basis), new in zip(sides, updated, strict=True):
            self.assign(basis, new)

    def _move(self, gradient, variable, learning_rate) -> None:
        """Takes Adam's step in the coordinates of the bases."""
        index = self._get_variable_index(variable)
        mean, square = self._means[index], self._squares[index]
        left, right = (None if side is None else ops.convert_to_tensor(side[1]) for side in self._sides(variable))
        matrix = _matrix_shape(variable.shape)
        flat = _flat(gradient, variable)

        def turn(values):
            values = values if left is None else ops.transpose(left) @ values
            return values if right is None else values @ right

        def turn_back(values):
            values = values if left is None else left @ values
            return values if right is None else values @ ops.transpose(right)

        self.assign(mean, self.beta_1 * mean + (1 - self.beta_1) * ops.reshape(flat, variable.shape))
        turned_square = ops.reshape(ops.square(turn(flat)), variable.shape)
        self.assign(square, self.beta_2 * square + (1 - self.beta_2) * turned_square)
        step = ops.cast(self.iterations + 1, variable.dtype)
        scale = ops.sqrt(ops.reshape(square, matrix) / (1 - ops.power(self.beta_2, step))) + self.epsilon
        direction = turn_back(turn(ops.reshape(mean, matrix)) / (1 - ops.power(self.beta_1, step)) / scale)
        rate = ops.where(self.iterations > 0, ops.cast(learning_rate, variable.dtype), 0.0)
        self.assign_sub(variable, rate * ops.reshape(direction, variable.shape))

    def _sides(self, variable):
        """Returns the statistics and the basis of the left and the right side; None for a side without a basis."""
        index = self._get_variable_index(variable)
        return self._left[index], self._right[index]

    def get_config(self):
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "refresh_every": self.refresh_every,
            "largest_side": self.largest_side,
            "compile_update": self.compile_update,
        }


def _flat(gradient, variable):
    """Returns the gradient of a variable as a matrix of the variable's type."""
    # The gradient of a table of which a step reads some rows, such as an embedding, is `tf.IndexedSlices`.
    return ops.reshape(ops.cast(tf.convert_to_tensor(gradient), variable.dtype), _matrix_shape(variable.shape))


def _matrix_shape(shape) -> tuple[int, int]:
    """Returns the shape as a matrix: inputs (with all taps of a kernel) by outputs. A vector is one row."""
    return int(np.prod(shape[:-1])), int(shape[-1])


def _orthogonal(matrix):
    """Returns an orthogonal basis of the columns."""
    with tf.device(_FACTORIZING):
        return ops.qr(matrix)[0]


def _eigenvectors(matrix):
    """Returns the eigenvectors of a symmetric matrix as columns, the largest eigenvalue first."""
    with tf.device(_FACTORIZING):
        return ops.eigh(matrix)[1][:, ::-1]
