"""What a model takes for itself, whatever Keras's global settings say: its precision, and the order of its axes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras

from pixelvae_tf.errors import UserError

POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")


def precision(dtype) -> keras.DTypePolicy:
    """The dtype policy of a model.

    Args:
        dtype: a Keras dtype policy, its name, or its record; None for float32, also where the global one is another.

    Raises:
        UserError: for a policy whose weights are not float32: losses in nats need them.
    """
    policy = keras.dtype_policies.get(dtype or "float32")
    if policy.name not in POLICIES:
        raise UserError(f"dtype={policy.name!r}: a model's weights are float32; use one of {', '.join(POLICIES)}")
    return policy


@contextlib.contextmanager
def own_settings() -> Iterator[None]:
    """Makes float32 and channels_last Keras's settings for a block, or for the calls of a function.

    A keras.json or another library of the same process may have set others, which operations without a type or a
    format of their own would take.
    """
    floatx, data_format = keras.config.floatx(), keras.config.image_data_format()
    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_image_data_format(data_format)
