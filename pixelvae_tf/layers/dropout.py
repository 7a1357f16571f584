"""Dropout in the masked blocks: what it drops is drawn outside the layers, from a seed.

Keras's own dropout has a generator whose state a checkpoint must hold, and which draws the same on every replica. Here
a mask is a function of the seed, the step and the image's place in the global batch, so that a resumed run and one on
several devices drop what one device in one go would.
"""

from __future__ import annotations

import tensorflow as tf

from pixelvae_tf.probability import randomness


def replica_factors(shape: tuple[int, ...], rate: float, batch_size, seed, dtype) -> list:
    """What this replica multiplies the maps inside the residual blocks of a network by.

    Args:
        shape: (blocks, height, width, filters).
        rate: share of the maps' elements to drop, between 0 and 1; counted in 256ths, the nearest but never none or
            all of them. A byte of noise an element is a quarter of the time of a uniform float.
        batch_size: rows of each replica, the same on all.
        seed: the same on all replicas.
        dtype: of the factors, what the network computes in.

    Returns:
        For each block (batch, height, width, filters): 0 where an element is dropped, else 1 / (share of those kept).
    """
    blocks, *maps = shape
    if not blocks:
        return []
    replica = tf.distribute.get_replica_context()
    # As with the latents' noise: every replica draws all of it and keeps its own rows.
    noise = randomness.integers((blocks, batch_size * replica.num_replicas_in_sync, *maps), seed)
    first = replica.replica_id_in_sync_group * batch_size
    dropped = min(max(round(256 * rate), 1), 255)
    return tf.unstack(_factors(noise[:, first : first + batch_size], dropped, tf.as_dtype(dtype).name), blocks)


@tf.function(jit_compile=True, autograph=False)
def _factors(noise, dropped: int, dtype: str):
    kept = tf.constant(256 / (256 - dropped), dtype)
    return tf.where(noise < dropped, tf.zeros((), dtype), kept)
