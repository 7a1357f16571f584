"""The library that compression needs. Imports no TensorFlow, so that its absence shows at once."""

from __future__ import annotations

import functools

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
