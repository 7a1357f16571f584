"""Frozen, validated settings of a model, its data and its training.

Three dataclasses describe a run completely: `ModelConfig` rebuilds the network, `DataConfig` names the
images, `TrainConfig` says how to optimise. Every field carries its own help text, from which the command
lines make their flags, and every error names the field and the remedy. Nothing here needs TensorFlow.
"""

from pixelvae_tf.config.base import ConfigError
from pixelvae_tf.config.data import DataConfig
from pixelvae_tf.config.model import ModelConfig
from pixelvae_tf.config.run import RunConfig
from pixelvae_tf.config.training import TrainConfig

__all__ = ["ConfigError", "DataConfig", "ModelConfig", "RunConfig", "TrainConfig"]
