"""Dropout in the masked blocks. Its masks are drawn outside the layers, from a seed.

Keras's own dropout has a generator with a state, which checkpoints would have to hold and which draws the same on every
replica. Here a mask depends on the seed, the step and the image's position in the global batch. So a resumed run, and
one on several devices, drop the same elements as an uninterrupted run on one device.
"""

from __future__ import annotations

import tensorflow as tf

from pixelvae_tf.probability import randomness


def replica_factors(shape: tuple[int, ...], rate: float, batch_size, seed, dtype) -> list:
    """Draws the factors by which this replica multiplies the maps inside a network's residual blocks.

    Args:
        shape: (blocks, height, width, filters).
        rate: fraction of the maps' elements to drop, between 0 and 1, rounded to 256ths from 1 to 255. A byte of noise
            for each element takes a quarter of the time of a uniform float.
        batch_size: rows of each replica, the same on all.
        seed: the same on all replicas.
        dtype: type of the factors, the network's compute type.

    Returns:
        For each block (batch, height, width, filters): 0 to drop an element, else 1 / (fraction of kept elements).
    """
    blocks, *maps = shape
    if not blocks:
        return []
    replica = tf.distribute.get_replica_context()
    # As for the latents' noise, every replica draws all noise and keeps its own rows.
    noise = randomness.integers((blocks, batch_size * replica.num_replicas_in_sync, *maps), seed)
    first = replica.replica_id_in_sync_group * batch_size
    dropped = min(max(round(256 * rate), 1), 255)
    return tf.unstack(_factors(noise[:, first : first + batch_size], dropped, tf.as_dtype(dtype).name), blocks)


@tf.function(jit_compile=True, autograph=False)
def _factors(noise, dropped: int, dtype: str):
    kept = tf.constant(256 / (256 - dropped), dtype)
    return tf.where(noise < dropped, tf.zeros((), dtype), kept)
