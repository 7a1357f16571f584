"""Callbacks around training steps: checks, timing, checkpoints, TensorBoard, progress.

The optimizer counts the steps, so a resumed run continues the count.
"""

from __future__ import annotations

import math
import pathlib
import signal
import sys
import threading
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
import tqdm
from tensorboard.plugins.hparams import api as hparams

from pixelvae_tf import files
from pixelvae_tf.config import RunConfig
from pixelvae_tf.errors import UserError
from pixelvae_tf.evaluation import pictures
from pixelvae_tf.model.replicas import StopFlag
from pixelvae_tf.probability import objectives


class TrainingError(UserError):
    """Training cannot continue. The message is one line with the remedy."""


class StepCallback(keras.callbacks.Callback):
    """A callback that receives the number of steps taken so far, from 1."""

    def on_train_batch_end(self, batch, logs=None):
        self.after_step(int(self.model.optimizer.iterations.numpy()), logs)

    def after_step(self, step: int, logs: dict) -> None:
        """Called after every training step with its results."""

    def close(self) -> None:
        """Releases resources, also after an error."""


class StopOnNonFinite(StepCallback):
    """Ends a run whose loss or gradient is not finite, before anything of it is saved."""

    def after_step(self, step, logs):
        for name in ("loss", "gradient_norm"):
            if not math.isfinite(logs[name]):
                raise TrainingError(
                    f"step {step}: the {name.replace('_', ' ')} is {logs[name]}; the last good checkpoint is "
                    "kept: lower --learning_rate or tighten --gradient_clip_norm and start anew"
                )


class StopOnSignal(StepCallback):
    """Ends the run after the current step on Ctrl-C or SIGTERM. A second signal ends it at once.

    A closing terminal may send both, so signals within a second count as one.

    Args:
        flag: shares the signal with all workers, so that they end after the same step; None for a single worker.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)
    TOGETHER_SECONDS = 1.0

    def __init__(self, flag: StopFlag | None = None):
        super().__init__()
        self.flag = flag
        self.received: str | None = None
        self._received_at = 0.0
        self._before = {}

    def on_train_begin(self, logs=None):
        # Python delivers signals only to the main thread. Training in another thread is up to its program to end.
        if threading.current_thread() is not threading.main_thread():
            return
        for number in self.SIGNALS:
            self._before[number] = signal.signal(number, self._receive)

    def _receive(self, number, frame):
        if self.received is None:
            self.received, self._received_at = signal.Signals(number).name, time.monotonic()
        elif time.monotonic() - self._received_at > self.TOGETHER_SECONDS:
            self.restore_handlers()
            signal.raise_signal(number)

    def restore_handlers(self):
        """Restores the signal handlers from before training."""
        while self._before:
            signal.signal(*self._before.popitem())

    def close(self):
        self.restore_handlers()

    def on_train_batch_begin(self, batch, logs=None):
        if self.received and self.flag is not None:
            self.flag.set()

    def after_step(self, step, logs):
        # Workers that stopped after different steps would wait for each other forever.
        if self.received if self.flag is None else logs["stop"]:
            self.received = self.received or "a signal to another worker"
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        self.close()


class Timer(StepCallback):
    """Measures the time in training steps, without validation and saving, and the recent images per second."""

    WINDOW = 50

    def __init__(self, batch_size: int, seconds: tf.Variable):
        super().__init__()
        self.batch_size = batch_size
        self.seconds = seconds
        self.latest: list[float] = []
        self._started = 0.0

    def on_train_batch_begin(self, batch, logs=None):
        self._started = time.perf_counter()

    def after_step(self, step, logs):
        taken = time.perf_counter() - self._started
        self.seconds.assign_add(taken)
        self.latest = [*self.latest[1 - self.WINDOW :], taken]

    @property
    def images_per_second(self) -> float:
        """The median rate of the latest steps."""
        return self.batch_size / float(np.median(self.latest))


class Checkpoints(StepCallback):
    """Saves the state of training every `every` steps and at the end.

    Args:
        manager: saves and deletes checkpoints.
        every: steps between checkpoints.
        check: called before each save; raises an error if the work directory was replaced.
    """

    def __init__(self, manager: tf.train.CheckpointManager, every: int, check: Callable[[], None]):
        super().__init__()
        self.manager = manager
        self.every = every
        self.check = check
        self._saved = None

    def after_step(self, step, logs):
        if step % self.every == 0:
            self._save(step)

    def on_train_end(self, logs=None):
        self._save(int(self.model.optimizer.iterations.numpy()))

    def _save(self, step: int) -> None:
        if step != self._saved:
            self.check()
            with files.writing(pathlib.Path(self.manager.directory)):
                self.manager.save(checkpoint_number=step)
            self._saved = step


def write_terms(writer, step: int, terms: dict, num_dimensions: int) -> None:
    """Writes the bound and its terms to TensorBoard in nats and bits per dimension."""
    with writer.as_default(step=step):
        for name, nats in terms.items():
            tf.summary.scalar(f"nats/{name}", nats)
            tf.summary.scalar(f"bits_per_dim/{name}", objectives.bits_per_dim(nats, num_dimensions))


class TensorBoard(StepCallback):
    """Writes scalars of the training steps, hyperparameters, the graph, and a profile on request."""

    def __init__(self, writer, config: RunConfig, timer: Timer, folder: str):
        super().__init__()
        self.writer = writer
        self.config = config
        self.timer = timer
        self.folder = folder
        self._profiling = False

    def on_train_begin(self, logs=None):
        values = {
            key: value if isinstance(value, (bool, int, float, str)) else str(value)
            for settings in self.config.to_dict().values()
            for key, value in settings.items()
        }
        with self.writer.as_default(step=0):
            hparams.hparams(values)
            tf.summary.graph(self.model.graphs.elbo.get_concrete_function().graph)

    def after_step(self, step, logs):
        training = self.config.training
        if step % training.log_every == 0:
            terms = {name: logs[name] for name in self.model.term_names}
            write_terms(self.writer, step, terms, self.model.config.num_dimensions)
            with self.writer.as_default(step=step):
                for name in ("loss", "learning_rate", "gradient_norm", *self.model.weight_names):
                    tf.summary.scalar(f"training/{name}", logs[name])
                tf.summary.scalar("training/images_per_second", self.timer.images_per_second)
        if training.profile_steps:
            first, last = training.profile_steps
            if step == first - 1 or (step == 1 and first == 1):
                tf.profiler.experimental.start(self.folder)
                self._profiling = True
            elif step == last and self._profiling:
                tf.profiler.experimental.stop()
                self._profiling = False

    def on_train_end(self, logs=None):
        if self._profiling:
            tf.profiler.experimental.stop()
        self.writer.flush()

    def close(self):
        self.writer.close()


class ImageGrids(StepCallback):
    """Draws samples, and reconstructions beside their validation images, with the weights that evaluation uses.

    Args:
        writer: TensorBoard's writer for the grids.
        examples: a validation batch: images, or images and their labels.
        every: steps between grids; 0 for none.
        last_step: the last step of the run.
    """

    COUNT = 16

    def __init__(self, writer, examples, every: int, last_step: int):
        super().__init__()
        self.writer = writer
        images, *labels = examples if isinstance(examples, tuple) else (examples,)
        self.images = images[: self.COUNT]
        self.of_images = {"label": labels[0][: self.COUNT]} if labels else {}
        self.every = every
        self.last_step = last_step

    def after_step(self, step, logs):
        if self.every and (step % self.every == 0 or step == self.last_step):
            config = self.model.config
            classes = {"label": np.arange(self.COUNT) % config.num_classes} if config.num_classes else {}
            with self.model.evaluation_weights():
                grids = {
                    "samples": pictures.grid(self.model.sample(self.COUNT, seed=0, **classes), config.pixel_levels)
                }
                if config.num_levels:
                    rebuilt = self.model.reconstruct(self.images, seed=0, **self.of_images)
                    pairs = np.stack([self.images, rebuilt], axis=1).reshape((-1, *config.image_shape))
                    grids["reconstructions"] = pictures.grid(pairs, config.pixel_levels, columns=8)
            with self.writer.as_default(step=step):
                for name, grid in grids.items():
                    tf.summary.image(name, grid[None])

    def close(self):
        self.writer.close()


class Progress(StepCallback):
    """Shows a bar with the bound and the images per second on a terminal. Elsewhere it prints only reports."""

    def __init__(self, steps: int, timer: Timer):
        super().__init__()
        self.steps = steps
        self.timer = timer
        self.bar: tqdm.tqdm | None = None

    def on_train_begin(self, logs=None):
        done = int(self.model.optimizer.iterations.numpy())
        self.bar = tqdm.tqdm(total=self.steps, initial=done, unit="step", disable=None, dynamic_ncols=True)

    def after_step(self, step, logs):
        self.bar.set_postfix_str(f"bound {logs['bound']:.2f}, {self.timer.images_per_second:.0f} images/s", False)
        self.bar.update()

    def on_train_end(self, logs=None):
        self.close()

    def close(self):
        if self.bar is not None:
            self.bar.close()

    def report(self, line: str) -> None:
        """Prints a line above the bar."""
        tqdm.tqdm.write(line, file=sys.stdout)
        sys.stdout.flush()
