"""The optimizer of a run, and its learning rate."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from pixelvae_tf.config import TrainConfig
from pixelvae_tf.training.soap import SOAP

_OPTIMIZERS = {"adam": keras.optimizers.Adam, "soap": SOAP, "rmsprop": keras.optimizers.RMSprop}


def optimizer_of(training: TrainConfig) -> keras.Optimizer:
    """Returns a new optimizer with its learning rate schedule, from the configuration."""
    compiled = {"compile_update": True} if training.compile_step and training.optimizer == "soap" else {}
    return _OPTIMIZERS[training.optimizer](LearningRate(training), **compiled)


class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of each step: a linear warm-up, then constant, a step schedule or a cosine schedule."""

    def __init__(self, training: TrainConfig):
        self.training = training

    def __call__(self, step):
        training, step = self.training, tf.cast(step, tf.float32)
        warmup = training.learning_rate_warmup_steps
        if training.learning_rate_schedule == "step":
            factor = training.learning_rate_decay ** tf.floor(step / training.learning_rate_decay_steps)
        elif training.learning_rate_schedule == "cosine":
            done = tf.clip_by_value((step - warmup) / max(1, training.steps - warmup), 0.0, 1.0)
            last = training.learning_rate_decay
            factor = last + (1.0 - last) * 0.5 * (1.0 + tf.cos(np.pi * done))
        else:
            factor = 1.0
        rising = tf.minimum(1.0, (step + 1.0) / warmup) if warmup else 1.0
        return training.learning_rate * rising * factor

    def get_config(self):
        return {"training": self.training.to_dict()}

    @classmethod
    def from_config(cls, config):
        return cls(TrainConfig.from_dict(config["training"]))
