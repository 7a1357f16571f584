"""Chooses the precision of training by the device."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from pixelvae_tf import processor
from pixelvae_tf.config import RunConfig
from pixelvae_tf.runs.workdir import Run

# Linux's names for the features of processors that multiply bfloat16 matrices in hardware. On others bfloat16 is slower
# than float32.
_BFLOAT16_FEATURES = {"amx_bf16", "avx512_bf16"}
_BFLOAT16_COMPUTE_CAPABILITY = (8, 0)


def best_precision() -> str:
    """Returns "bfloat16" if the devices multiply bfloat16 matrices faster than float32, else "float32".

    GPUs of compute capability 8.0 or more do. Without a GPU, processors with AMX-BF16 or AVX512-BF16 do.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        fast = all(each.get("compute_capability", (0, 0)) >= _BFLOAT16_COMPUTE_CAPABILITY for each in details)
    else:
        fast = bool(_BFLOAT16_FEATURES & processor.features())
    return "bfloat16" if fast else "float32"


def with_precision(config: RunConfig, run: Run | None = None) -> RunConfig:
    """Replaces mixed_precision="auto" by the precision to train in.

    A run continues in its first precision, whatever the device. A new run uses the best precision of this device, or
    float32 if it must be deterministic.

    Args:
        config: the configuration of the run.
        run: its work directory, or None if it has none.
    """
    if config.training.mixed_precision != "auto":
        return config
    if run is not None and run.config_file.exists():
        precision = run.config().training.mixed_precision
    else:
        precision = "float32" if config.training.deterministic else best_precision()
    return dataclasses.replace(config, training=dataclasses.replace(config.training, mixed_precision=precision))
