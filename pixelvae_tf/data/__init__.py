"""Datasets by name, and the batches that training and evaluation read."""

from pixelvae_tf.data.pipeline import evaluation_batches, training_batches
from pixelvae_tf.data.registry import describe, load, names
from pixelvae_tf.data.schema import DataError, DatasetInfo

__all__ = ["DataError", "DatasetInfo", "describe", "evaluation_batches", "load", "names", "training_batches"]
