"""Trains tiny models on the devices that the arguments ask for, in a process of its own, and writes what came out.

    python tests/replicas.py mirrored|multi_worker OUTPUT.npz

With "mirrored" it trains on one device and on two replicas, with "multi_worker" as one of the workers that
TF_CONFIG names. TensorFlow's devices are settled once in a process, so that the tests need others than their own.
"""

import dataclasses
import sys

import keras
import numpy as np
import tensorflow as tf
from modes import as_in_production

from pixelvae_tf import DataConfig, ModelConfig, PixelVAE, TrainConfig, data
from pixelvae_tf.probability import randomness
from pixelvae_tf.sampling.noise import replica_noise
from pixelvae_tf.training.devices import Devices, create_devices
from pixelvae_tf.training.soap import SOAP
from pixelvae_tf.training.validation import validation_of

BATCH_SIZE = 12
STEPS = 5
GATED = ModelConfig(
    image_shape=(8, 8, 1),
    pixel_levels=17,
    latent_channels=(3,),
    encoder_channels=(4,),
    pixelcnn_layers=1,
    pixelcnn_channels=4,
    first_kernel_size=5,
    kernel_size=3,
    output_layers=0,
    weight_normalization=False,
)
RESIDUAL = ModelConfig(
    image_shape=(8, 8, 1),
    pixel_levels=17,
    network="residual",
    latent_channels=(2, 3),
    latent_strides=(2, 0),
    latent_scale="softsign",
    conditioning="maps",
    encoder_channels=(4, 6),
    upsampling_channels=(4, 6),
    residual_blocks=0,
    pixelcnn_layers=1,
    pixelcnn_channels=4,
    latent_pixelcnn_layers=1,
    latent_pixelcnn_channels=4,
    first_kernel_size=3,
    kernel_size=3,
    output_layers=0,
    weight_normalization=False,
)
# Models of classes, which train on images with their labels.
GATED_OF_CLASSES = dataclasses.replace(GATED, num_classes=10)
RESIDUAL_OF_CLASSES = dataclasses.replace(RESIDUAL, num_classes=10)
# The graph of SOAP has many operations for each array of weights.
PIXELCNN = dataclasses.replace(GATED, latent_channels=())
# Network, optimizer, and how the model is compiled. The clips are low enough to matter in every step. Where replicas
# added up a gradient in place of averaging it, SGD would show it and Adam would not.
CASES = {
    "one level, clipped": (GATED_OF_CLASSES, keras.optimizers.SGD, 1e-2, {"clip_norm": 5.0, "dropout": 0.3}),
    "two levels, averaged": (
        RESIDUAL_OF_CLASSES,
        keras.optimizers.SGD,
        1e-2,
        {"clip_value": 0.5, "ema_decay": 0.9, "free_bits": 0.05},
    ),
    "SOAP": (PIXELCNN, SOAP, 1e-3, {"clip_norm": 5.0}),
    "bfloat16": (GATED_OF_CLASSES, keras.optimizers.SGD, 1e-2, {"clip_norm": 5.0, "dropout": 0.3}),
}
# What several processes train: they differ from replicas of one process in how they talk alone.
OF_WORKERS = ["two levels, averaged"]
# What XLA compiles parts of, which fails over replicas where it is not done with care.
COMPILED = ["bfloat16"]


def build(case: str) -> PixelVAE:
    config, optimizer, learning_rate, settings = CASES[case]
    keras.utils.set_random_seed(1)
    model = PixelVAE(config, dtype="mixed_bfloat16" if case == "bfloat16" else "float32")
    model.compile(optimizer(learning_rate), kl_warmup_steps=(0,) * bool(config.latent_channels), seed=5, **settings)
    return model


class Losses(keras.callbacks.Callback):
    """The reports of all steps."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append([float(logs[name]) for name in ("loss", "bound", "gradient_norm")])


def training_images(devices: Devices, labelled: bool = False):
    def of_worker(count, index):
        shard = {"num_shards": count, "shard_index": index}
        return data.training_batches(DataConfig(), batch_size=BATCH_SIZE, labelled=labelled, **shard)

    if devices.num_replicas == 1:
        return of_worker(1, 0)
    return devices.distribute(of_worker, BATCH_SIZE // devices.num_replicas)


def flat(variables) -> np.ndarray:
    return np.concatenate([np.zeros(0, "float32"), *(np.ravel(variable.numpy()) for variable in variables)])


def copies(devices: Devices, variables) -> list[np.ndarray]:
    """What each replica of this process has of the variables."""
    by_variable = [devices.strategy.experimental_local_results(variable.value) for variable in variables]
    return [flat(of_replica) for of_replica in zip(*by_variable, strict=True)]


def trained(devices: Devices, case: str) -> dict[str, np.ndarray]:
    with devices.strategy.scope():
        model = build(case)
    losses = Losses()
    start = flat(model.trainable_variables)
    images = training_images(devices, bool(model.config.num_classes))
    with as_in_production(case in COMPILED):
        model.fit(images, steps_per_epoch=STEPS, shuffle=False, verbose=0, callbacks=[losses])
    return {
        "start": start,
        "weights": flat(model.trainable_variables),
        "statistics": flat(model.non_trainable_variables),
        "averages": flat(model.average.averages if model.average else []),
        "losses": np.array(losses.steps),
        "copies": np.stack(copies(devices, model.trainable_variables)),
        "dtypes": np.array(sorted({variable.dtype for variable in model.variables})),
    }


def validated(devices: Devices) -> dict[str, np.ndarray]:
    """The validation bound and its parts over numbers of images that leave a short last batch, or hardly any."""
    with devices.strategy.scope():
        model = build("one level, clipped")
    found = {}
    for count in (3, 25):
        batches = data.evaluation_batches(
            DataConfig(), "validation", batch_size=BATCH_SIZE, max_examples=count, labelled=True
        )
        measure = validation_of(model, batches, BATCH_SIZE, devices)
        found[str(count)] = np.array([measure()[name] for name in model.term_names])
        assert measure() == measure()
    return found


def of_unknown_sizes(devices: Devices) -> dict[str, np.ndarray]:
    """A step on batches whose size shows only when the graph runs: the loss of an even one, the refusal of another."""
    with devices.strategy.scope():
        model = build("one level, clipped")
    pixels = np.arange(7 * 64, dtype="uint8").reshape(7, 8, 8, 1) % 17
    images = tf.data.Dataset.from_tensor_slices((pixels, np.arange(7)))
    loss = model.fit(images.take(6).batch(6), shuffle=False, verbose=0).history["loss"]
    try:
        model.fit(images.batch(7), shuffle=False, verbose=0)
        refusal = ""
    except tf.errors.InvalidArgumentError as error:
        refusal = str(error)
    return {"even": np.array(loss), "uneven": np.array(refusal)}


def seen(devices: Devices) -> dict[str, np.ndarray]:
    """What the replicas of this worker read and draw, in their order."""
    strategy, rows = devices.strategy, BATCH_SIZE // devices.num_replicas
    batches = iter(training_images(devices))
    images = [strategy.experimental_local_results(next(batches)) for _ in range(3)]
    noise = strategy.run(lambda: replica_noise(RESIDUAL, rows, randomness.as_seed(3)))
    return {
        "images": np.stack([np.concatenate(parts) for parts in images]),
        **{
            f"noise_z{level + 1}": np.concatenate(strategy.experimental_local_results(level_noise))
            for level, level_noise in enumerate(noise)
        },
    }


def main(strategy: str, output: str) -> None:
    cpus = 2 if strategy == "mirrored" else 0
    devices = create_devices(TrainConfig(strategy=strategy, cpu_devices=cpus, batch_size=BATCH_SIZE))
    parts = {"several": devices, "one": Devices(tf.distribute.get_strategy())} if cpus else {"several": devices}
    found = {}
    for name, where in parts.items():
        for case in CASES if cpus else OF_WORKERS:
            found |= {f"{name}/{case}/{key}": value for key, value in trained(where, case).items()}
        found |= {f"{name}/validation/{key}": value for key, value in validated(where).items()}
        found |= {f"{name}/seen/{key}": value for key, value in seen(where).items()}
    if cpus:
        found |= {f"several/sizes/{key}": value for key, value in of_unknown_sizes(devices).items()}
    np.savez(output, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
