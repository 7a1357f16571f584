"""Checks what compression needs: a library and a suitable model. Without TensorFlow, so errors appear at once."""

from __future__ import annotations

import functools

from pixelvae_tf.config import ModelConfig
from pixelvae_tf.errors import UserError


@functools.cache
def library():
    """Returns `constriction`'s stream coders. Raises UserError if it is not installed."""
    try:
        import constriction
    except ImportError:
        raise UserError(
            "compression needs the package constriction, which is not installed: pip install constriction, or install "
            "this package with its extra: pip install '.[compression]'"
        ) from None
    return constriction.stream


def check(config: ModelConfig) -> None:
    """Raises UserError if the library is missing or the model cannot compress."""
    library()
    if config.num_classes:
        raise UserError(f"compression is for models of images alone, and this one has {config.num_classes} classes")
