"""Trains a model in a test and keeps what every step reported."""

import keras
import numpy as np


class Record(keras.callbacks.Callback):
    """What every step reported, and the weights after it."""

    def __init__(self):
        super().__init__()
        self.logs, self.weights = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.logs.append({name: float(value) for name, value in logs.items()})
        self.weights.append([variable.numpy() for variable in self.model.trainable_variables])


def fit(model, images, steps: int, batch_size: int | None = None) -> Record:
    """Trains for so many steps, each an epoch's only one unless `batch_size` says otherwise."""
    record = Record()
    batch_size = batch_size or len(images)
    model.fit(
        images,
        batch_size=batch_size,
        epochs=steps * batch_size // len(images),
        shuffle=False,
        verbose=0,
        callbacks=[record],
    )
    return record


def weights_of(model) -> list[np.ndarray]:
    return [variable.numpy() for variable in model.trainable_variables]


def flat(arrays) -> np.ndarray:
    return np.concatenate([np.ravel(array) for array in arrays]).astype("float64")
