"""PixelVAE (Gulrajani et al., ICLR 2017) on TensorFlow and Keras 3.

`ModelConfig` describes a network, `PixelVAE` is the Keras model, `load` gives a trained model: of a work
directory, or a pretrained one by name. TensorFlow is imported when the first of them is needed.
"""

import importlib
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

__version__ = "0.1.0"

_HOMES = {
    "ModelConfig": "pixelvae_tf.config",
    "DataConfig": "pixelvae_tf.config",
    "TrainConfig": "pixelvae_tf.config",
    "RunConfig": "pixelvae_tf.config",
    "PixelVAE": "pixelvae_tf.model.pixelvae",
    "load": "pixelvae_tf.runs.trained",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted([*globals(), *__all__])
