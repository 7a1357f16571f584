"""What compression needs: a library, and a model that it is for. Without TensorFlow, so that it is told at once."""

from __future__ import annotations

import functools

from pixelvae_tf.config import ModelConfig
from pixelvae_tf.errors import UserError


@functools.cache
def library():
    """`constriction`'s stream coders. Raises UserError where it is not installed."""
    try:
        import constriction
    except ImportError:
        raise UserError(
            "compression needs the package constriction, which is not installed: pip install constriction, or install "
            "this package with its extra: pip install '.[compression]'"
        ) from None
    return constriction.stream


def check(config: ModelConfig) -> None:
    """Raises UserError without the library, or for a model that cannot compress."""
    library()
    if getattr(config, "num_classes", 0):
        raise UserError(f"compression is for models of images alone, and this one has {config.num_classes} classes")
