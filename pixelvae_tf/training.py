"""A training run in a work directory: from its configuration, or from where it was interrupted."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from pixelvae_tf import callbacks, data, files
from pixelvae_tf.config import RunConfig, TrainConfig
from pixelvae_tf.files import FileError
from pixelvae_tf.model import PixelVAE
from pixelvae_tf.runs import Run, environment

_CHECKPOINTS_KEPT = 2


class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of a step: a linear warm-up, then constant, falling in steps, or falling as a cosine."""

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


def build_model(config: RunConfig) -> PixelVAE:
    """A fresh model, compiled for training, with weights from the seed."""
    training = config.training
    keras.utils.set_random_seed(training.seed)
    policy = "mixed_bfloat16" if training.mixed_precision == "bfloat16" else "float32"
    model = PixelVAE(config.model, dtype=policy)
    model.compile(
        keras.optimizers.Adam(LearningRate(training)),
        kl_warmup_steps=training.kl_warmup_steps,
        clip_value=training.gradient_clip_value,
        clip_norm=training.gradient_clip_norm,
        ema_decay=training.ema_decay,
        seed=training.seed,
    )
    return model


def train(config: RunConfig, workdir: str) -> dict:
    """Trains in `workdir` until `config.training.steps`, continuing from its last checkpoint.

    Returns:
        The summary of the run, as `summary.json` records it when the run is complete.

    Raises:
        FileError: for a work directory that cannot be used, or a damaged checkpoint.
        DataError: for data that cannot be read, or fewer images than a batch.
        TrainingError: when the loss is not finite.
    """
    training, run = config.training, Run(workdir)
    if training.deterministic:
        tf.config.experimental.enable_op_determinism()
    validation = data.evaluation_batches(
        config.data, "validation", batch_size=training.batch_size, max_examples=training.validation_examples
    )
    # Reads nothing yet, but refuses a batch that is larger than the data before the work directory is touched.
    data.training_batches(config.data, batch_size=training.batch_size, seed=training.seed)
    run.claim(config)
    strategy = _strategy()
    with strategy.scope():
        model = build_model(config)
        seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False, name="seconds")
    manager = _checkpoint_manager(model, seconds, run)
    start = _restore(manager, model)
    if start < training.steps:
        received = _fit(config, run, model, manager, seconds, validation, start)
        if received:
            step = int(model.optimizer.iterations.numpy())
            return {"steps": step, "interrupted_by": received}
    return _finish(config, run, model, seconds)


def _strategy():
    """All GPUs where there are several, otherwise the one device that TensorFlow picks."""
    several = len(tf.config.list_physical_devices("GPU")) > 1
    return tf.distribute.MirroredStrategy() if several else tf.distribute.get_strategy()


def _checkpoint_manager(model: PixelVAE, seconds: tf.Variable, run: Run) -> tf.train.CheckpointManager:
    parts = {"model": model, "optimizer": model.optimizer, "seconds": seconds}
    if model.average is not None:
        parts["average"] = model.average
    return tf.train.CheckpointManager(tf.train.Checkpoint(**parts), str(run.checkpoints), _CHECKPOINTS_KEPT)


def _restore(manager: tf.train.CheckpointManager, model: PixelVAE) -> int:
    """Restores the latest checkpoint, if there is one, and returns the number of steps already taken."""
    latest = manager.latest_checkpoint
    if latest is None:
        return 0
    try:
        manager.checkpoint.restore(latest).assert_existing_objects_matched()
    except (tf.errors.OpError, AssertionError, ValueError) as error:
        reason = str(error).splitlines()[0][:200]
        raise FileError(
            f"{latest}: this checkpoint is damaged ({reason}); delete its files and the line that names it in "
            f"{manager.directory}/checkpoint to continue from the one before"
        ) from None
    return int(model.optimizer.iterations.numpy())


def _fit(config, run, model, manager, seconds, validation, start) -> str | None:
    """Trains from step `start`; returns the name of the signal that ended it early, or None."""
    training = config.training
    batches = data.training_batches(
        config.data, batch_size=training.batch_size, seed=training.seed, start_step=start
    )
    train_writer = tf.summary.create_file_writer(str(run.workdir / "train"))
    validation_writer = tf.summary.create_file_writer(str(run.workdir / "validation"))
    timer = callbacks.Timer(training.batch_size, seconds)
    progress = callbacks.Progress(training.steps, timer)
    stop = callbacks.StopOnSignal()
    examples = next(iter(validation)).numpy()
    try:
        model.fit(
            batches,
            steps_per_epoch=training.steps - start,
            shuffle=False,  # the stream is shuffled already
            verbose=0,
            callbacks=[
                timer,
                callbacks.StopOnNonFinite(),
                stop,
                callbacks.Validation(
                    run, validation, training.validation_every, training.steps, validation_writer, progress.report
                ),
                callbacks.Checkpoints(manager, training.checkpoint_every),
                callbacks.TensorBoard(train_writer, config, timer, str(run.workdir / "train")),
                callbacks.ImageGrids(validation_writer, examples, training.images_every, training.steps),
                progress,
            ],
        )
    finally:
        stop.restore_handlers()
        progress.close()
        train_writer.close()
        validation_writer.close()
    return stop.received if int(model.optimizer.iterations.numpy()) < training.steps else None


def _finish(config: RunConfig, run: Run, model: PixelVAE, seconds: tf.Variable) -> dict:
    best = run.best()
    summary = {
        "steps": int(model.optimizer.iterations.numpy()),
        "best_step": best["step"],
        "best_validation_bound_nats": best["nll_bound_nats"],
        "weights": best["weights"],
        "parameters": model.count_params(),
        "training_seconds": round(float(seconds.numpy()), 1),
        "seed": config.training.seed,
        **environment(),
    }
    files.write_json(run.summary_file, summary)
    return summary
