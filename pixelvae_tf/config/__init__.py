"""Frozen, validated settings of a model, its data and its training.

Three dataclasses describe a run completely: `ModelConfig` describes the network, `DataConfig` names the images, and
`TrainConfig` says how to train. Every field has a help text, and the command lines turn the fields into flags. Every
error names the field and the remedy. Nothing here needs TensorFlow.
"""

from pixelvae_tf.config.base import ConfigError
from pixelvae_tf.config.data import DataConfig
from pixelvae_tf.config.model import ModelConfig
from pixelvae_tf.config.run import RunConfig
from pixelvae_tf.config.training import TrainConfig

__all__ = ["ConfigError", "DataConfig", "ModelConfig", "RunConfig", "TrainConfig"]
