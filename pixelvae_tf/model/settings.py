"""A model's own precision and order of axes, independent of Keras's global settings."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras

from pixelvae_tf.errors import UserError

POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")


def precision(dtype) -> keras.DTypePolicy:
    """Returns the dtype policy of a model.

    Args:
        dtype: a Keras dtype policy, its name, or its configuration; None for float32, whatever Keras's global policy.

    Raises:
        UserError: for a policy whose weights are not float32, which losses in nats need.
    """
    policy = keras.dtype_policies.get(dtype or "float32")
    if policy.name not in POLICIES:
        raise UserError(f"dtype={policy.name!r}: a model's weights are float32; use one of {', '.join(POLICIES)}")
    return policy


@contextlib.contextmanager
def own_settings() -> Iterator[None]:
    """Sets Keras to float32 and channels_last in a block, or in the calls of a function.

    A keras.json or another library in the process may have changed these defaults, which some operations use.
    """
    floatx, data_format = keras.config.floatx(), keras.config.image_data_format()
    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_image_data_format(data_format)
