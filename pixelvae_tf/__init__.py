"""PixelVAE (Gulrajani et al., ICLR 2017) on TensorFlow and Keras 3.

`ModelConfig` describes a network, `PixelVAE` is the Keras model, and `load` returns a trained model from a work
directory, or a pretrained one by name. `export_model` writes a model as a SavedModel. TensorFlow is imported on first
use of one of them.
"""

import os

from pixelvae_tf.lazy import lazy_names

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "ModelConfig": "config",
        "DataConfig": "config",
        "TrainConfig": "config",
        "RunConfig": "config",
        "PixelVAE": "model.pixelvae",
        "load": "runs.trained",
        "export_model": "runs.exporting",
    },
)
