"""The precision that a training computes in, where it is left to the device."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from pixelvae_tf import processor
from pixelvae_tf.config import RunConfig
from pixelvae_tf.runs.workdir import Run

# Processors that multiply bfloat16 matrices in hardware, by the names of Linux. Others compute them more slowly than
# float32.
_BFLOAT16_FEATURES = {"amx_bf16", "avx512_bf16"}
_BFLOAT16_COMPUTE_CAPABILITY = (8, 0)


def best_precision() -> str:
    """ "bfloat16" where the devices that a training uses multiply bfloat16 faster than float32, else "float32".

    These are GPUs of compute capability 8.0 or more, and without a GPU processors with AMX-BF16 or AVX512-BF16.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        fast = all(each.get("compute_capability", (0, 0)) >= _BFLOAT16_COMPUTE_CAPABILITY for each in details)
    else:
        fast = bool(_BFLOAT16_FEATURES & processor.features())
    return "bfloat16" if fast else "float32"


def with_precision(config: RunConfig, run: Run | None = None) -> RunConfig:
    """The configuration with mixed_precision="auto" replaced by the precision that it stands for.

    A run continues in the precision that it began with, whatever the device. A new one takes the best of this device,
    and float32 where it is to be deterministic.

    Args:
        config: of the run.
        run: its work directory, or None for a run of none.
    """
    if config.training.mixed_precision != "auto":
        return config
    if run is not None and run.config_file.exists():
        precision = run.config().training.mixed_precision
    else:
        precision = "float32" if config.training.deterministic else best_precision()
    return dataclasses.replace(config, training=dataclasses.replace(config.training, mixed_precision=precision))
