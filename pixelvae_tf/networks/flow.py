"""The learned prior: a normalizing flow between the topmost vector of latents and standard normal noise.

A flow is invertible, and the determinant of its Jacobian is known. So p(zL) has an exact density, and noise gives its
samples. The flow learns the aggregate posterior. A standard normal prior cannot, and so has a higher KL.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from pixelvae_tf.layers.conditioning import LabelInput, check_label

# A coupling scales a feature by exp(-2) to exp(2). This is enough for a few couplings to separate clusters, but no
# training step can make a density overflow.
LOG_SCALE_LIMIT = 2.0


def kept_features(dimensions: int, coupling: int) -> np.ndarray:
    """Returns which features a coupling does not change, (dimensions,) bool.

    Couplings come in pairs. A pair splits the features by one bit of their index: the lowest bit first, then the next.
    The second coupling of a pair keeps what the first one changes. Any two features differ in some bit. So after a pair
    for each bit, every feature has depended directly on every other.
    """
    bits = (dimensions - 1).bit_length()
    return np.arange(dimensions) >> (coupling // 2 % bits) & 1 == coupling % 2


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class AffineCoupling(keras.layers.Layer):
    """Scales and shifts some features by functions of the others, which it does not change.

    The last layer starts at zero, so a new coupling is the identity. It has no weight normalization: a kernel of zeros
    has no direction to normalize.

    Args:
        coupling: its number in the flow, which determines the features that it keeps; see `kept_features`.
        num_layers: hidden layers of the network that computes scales and shifts.
        channels: units of each hidden layer.
        num_classes: number of classes, for functions that also depend on a label; 0 without labels.

    Call: features (batch, dimensions), at least two, and with classes a label (batch,). Returns features of the same
    shape, and the logarithm of the determinant of their Jacobian, (batch,).
    """

    def __init__(self, coupling: int, num_layers: int = 2, channels: int = 128, num_classes: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.coupling = coupling
        self.num_layers = num_layers
        self.channels = channels
        self.num_classes = num_classes
        self.label_input = None
        if num_classes:
            self.label_input = LabelInput(num_classes, name="label_input", dtype=self.dtype_policy)
        self.hidden = [
            keras.layers.Dense(
                channels, "silu", kernel_initializer="he_normal", name=f"hidden_{index}", dtype=self.dtype_policy
            )
            for index in range(num_layers)
        ]
        # `build` makes these, since they depend on the number of features.
        self.kept = self.changed = self.order = self.output_layer = None

    def build(self, features_shape, label_shape=None):
        kept = kept_features(features_shape[-1], self.coupling)
        self.kept, self.changed = np.flatnonzero(kept), np.flatnonzero(~kept)
        self.order = np.argsort(np.concatenate([self.kept, self.changed]))
        shape = (*features_shape[:-1], len(self.kept))
        if self.label_input is not None:
            self.label_input.build(shape)
            shape = self.label_input.compute_output_shape(shape)
        for layer in self.hidden:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self.output_layer = keras.layers.Dense(
            2 * len(self.changed), kernel_initializer="zeros", name="output", dtype=self.dtype_policy
        )
        self.output_layer.build(shape)

    def _affine(self, kept, label):
        """Returns log scales, within LOG_SCALE_LIMIT, and shifts of the changed features, given the kept ones."""
        check_label(label, self.num_classes)
        kept = kept if self.label_input is None else self.label_input(kept, label)
        for layer in self.hidden:
            kept = layer(kept)
        raw, shift = ops.split(self.output_layer(kept), 2, axis=-1)
        return LOG_SCALE_LIMIT * ops.tanh(raw / LOG_SCALE_LIMIT), shift

    def _split(self, features):
        return ops.take(features, self.kept, axis=-1), ops.take(features, self.changed, axis=-1)

    def _joined(self, kept, changed):
        return ops.take(ops.concatenate([kept, changed], axis=-1), self.order, axis=-1)

    def call(self, features, label=None):
        kept, changed = self._split(features)
        log_scale, shift = self._affine(kept, label)
        return self._joined(kept, changed * ops.exp(log_scale) + shift), ops.sum(log_scale, axis=-1)

    def inverse(self, features, label=None):
        """Inverts the call: returns its input for a given output, (batch, dimensions)."""
        kept, changed = self._split(features)
        log_scale, shift = self._affine(kept, label)
        return self._joined(kept, (changed - shift) * ops.exp(-log_scale))

    def get_config(self):
        return {
            **super().get_config(),
            "coupling": self.coupling,
            "num_layers": self.num_layers,
            "channels": self.channels,
            "num_classes": self.num_classes,
        }


@keras.saving.register_keras_serializable(package="pixelvae_tf")
class RealNVP(keras.layers.Layer):
    """A chain of affine couplings, from latents to the noise that would give them.

    Args:
        num_couplings: couplings; a pair for each bit of a feature's index (8 for 16 features) relates all features.
        num_layers: hidden layers in each coupling.
        channels: units of each hidden layer.
        num_classes: classes of the images, for a prior p(z | label); 0 without labels.

    Call: z (batch, dimensions), at least two, and with classes a label (batch,). Returns noise of the same shape, and
    the logarithm of the determinant of its Jacobian, (batch,). A new flow is the identity.

    Source: Dinh et al., "Density estimation using Real NVP", ICLR 2017 (arXiv 1605.08803), without its convolutions
    and its batch normalization.
    """

    def __init__(
        self, num_couplings: int = 8, num_layers: int = 2, channels: int = 128, num_classes: int = 0, **kwargs
    ):
        super().__init__(**kwargs)
        self.num_couplings = num_couplings
        self.num_layers = num_layers
        self.channels = channels
        self.num_classes = num_classes
        settings = {"num_classes": num_classes, "dtype": self.dtype_policy}
        self.couplings = [
            AffineCoupling(index, num_layers, channels, name=f"coupling_{index}", **settings)
            for index in range(num_couplings)
        ]

    def build(self, z_shape, label_shape=None):
        for coupling in self.couplings:
            coupling.build(z_shape)

    def call(self, z, label=None):
        noise, log_determinant = z, ops.zeros_like(z[:, 0])
        for coupling in self.couplings:
            noise, of_coupling = coupling(noise, label)
            log_determinant = log_determinant + of_coupling
        return noise, log_determinant

    def inverse(self, noise, label=None):
        """Maps standard normal noise to latents, (batch, dimensions): a sample of the prior."""
        for coupling in reversed(self.couplings):
            noise = coupling.inverse(noise, label)
        return noise

    def get_config(self):
        return {
            **super().get_config(),
            "num_couplings": self.num_couplings,
            "num_layers": self.num_layers,
            "channels": self.channels,
            "num_classes": self.num_classes,
        }
