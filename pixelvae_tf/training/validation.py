"""Measures the validation bound during training: every image once, on one replica or many."""

from __future__ import annotations

import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from pixelvae_tf.model.pixelvae import PixelVAE
from pixelvae_tf.probability import randomness
from pixelvae_tf.runs.workdir import Run
from pixelvae_tf.sampling.noise import replica_noise
from pixelvae_tf.training.callbacks import StepCallback, TrainingError, write_terms
from pixelvae_tf.training.devices import Devices


class Validation(StepCallback):
    """Measures the validation bound, with averaged weights if there are any, and keeps the best weights.

    Args:
        measure: returns the bound and its terms in nats.
        every: steps between validations. One more follows the last step.
        last_step: the last step of the run.
        records: receives the results; None on a worker that only helps to measure.
    """

    def __init__(self, measure: Callable[[], dict], every: int, last_step: int, records: ValidationRecords | None):
        super().__init__()
        self.measure = measure
        self.every = every
        self.last_step = last_step
        self.records = records

    def after_step(self, step, logs):
        if step % self.every == 0 or step == self.last_step:
            self._validate(step, logs)

    def _validate(self, step: int, logs: dict) -> None:
        with self.model.evaluation_weights() as kind:
            terms = {name: float(value) for name, value in self.measure().items()}
            if not math.isfinite(terms["bound"]):
                raise TrainingError(f"step {step}: the validation bound is {terms['bound']}; it is not kept")
            if self.records is not None:
                self.records.add(self.model, step, terms, kind, float(logs["bound"]))


class ValidationRecords:
    """Records validations: the best weights, the history, TensorBoard and a line for the user."""

    def __init__(self, run: Run, writer: tf.summary.SummaryWriter, report: Callable[[str], None]):
        self.run = run
        self.writer = writer
        self.report = report
        best, self.measured_on = run.best(), run.fingerprint().get("validation")
        # Bounds on different images do not compare.
        comparable = best and best.get("validation_data", self.measured_on) == self.measured_on
        self.best_bound = best["nll_bound_nats"] if comparable else math.inf

    def add(self, model: keras.Model, step: int, terms: dict[str, float], kind: str, training_bound) -> None:
        """Records one validation. Call it while the model still has the measured weights, which are of this kind."""
        improved = terms["bound"] < self.best_bound
        if improved:
            self.best_bound = terms["bound"]
            record = {"step": step, "nll_bound_nats": terms["bound"], "weights": kind}
            self.run.save_best(model, record | ({"validation_data": self.measured_on} if self.measured_on else {}))
        write_terms(self.writer, step, terms, model.config.num_dimensions)
        self.run.add_history({"step": step, "training_bound": training_bound, **terms})
        mark = ", the best so far" if improved else ""
        self.report(f"step {step}: validation bound {terms['bound']:.2f} nats{mark}")


def validation_of(model: PixelVAE, batches, batch_size: int, devices: Devices) -> Callable[[], dict]:
    """Returns a function that measures the validation bound and its terms in nats. All workers call it together.

    Args:
        model: compiled, under the strategy of `devices`.
        batches: (at most batch_size, height, width, colors) integers, with labels for a model of classes; the same on
            every worker.
        batch_size: the size of the batches, a multiple of the number of replicas.
        devices: the devices to measure on.
    """
    if devices.num_replicas == 1:
        return lambda: _bound_and_terms(model, batches)
    return DistributedValidation(model, batches, batch_size, devices)


def _bound_and_terms(model: PixelVAE, batches) -> dict[str, float]:
    found = model.evaluate(batches, verbose=0, return_dict=True)
    return {name: found[name] for name in model.term_names}


class DistributedValidation:
    """Computes the same mean over all images as one device would, with the same noise, on all replicas.

    Keras's `evaluate` would give all replicas equal weight, even if their shares of a short last batch differ. Here
    images of weight zero fill up that batch, and sums over replicas are added before the division.
    """

    def __init__(self, model: PixelVAE, batches: tf.data.Dataset, batch_size: int, devices: Devices):
        self.model = model
        self.strategy = devices.strategy
        shape = model.config.image_shape

        def filled(images, *labels):
            count = tf.shape(images)[0]
            images = tf.pad(images, [(0, batch_size - count), (0, 0), (0, 0), (0, 0)])
            labels = [tf.ensure_shape(tf.pad(each, [(0, batch_size - count)]), batch_size) for each in labels]
            weights = tf.sequence_mask(count, batch_size, tf.float32)
            return tf.ensure_shape(images, (batch_size, *shape)), weights, *labels

        def of_worker(count: int, index: int) -> tf.data.Dataset:
            # Images, weights, and labels where there are any.
            empty = tf.zeros((batch_size, *shape), tf.nest.flatten(batches.element_spec)[0].dtype)
            labels = [tf.zeros(batch_size, tf.int32)] if model.config.num_classes else []
            nothing = (empty, tf.zeros(batch_size), *labels)
            rows = slice(index * batch_size // count, (index + 1) * batch_size // count)
            # Batches without images tell all replicas in the same step that the dataset has ended.
            endless = batches.map(filled).concatenate(tf.data.Dataset.from_tensors(nothing).repeat())
            return endless.map(lambda *parts: tuple(part[rows] for part in parts))

        self.batches = devices.distribute(of_worker, batch_size // devices.num_replicas)
        self._sums = tf.function(self._sums_of_next, autograph=False)

    def __call__(self) -> dict[str, float]:
        totals, iterator = np.zeros(len(self.model.term_names) + 1), iter(self.batches)
        while True:
            sums = self._sums(iterator, tf.constant(int(totals[-1]))).numpy().astype("float64")
            if not sums[-1]:
                return dict(zip(self.model.term_names, totals[:-1] / totals[-1], strict=True))
            totals += sums

    def _sums_of_next(self, iterator, counted):
        """Returns the sums of each term and of the weights over the next global batch."""

        def on_replica(images, weights, label=None):
            seed = randomness.stream(self.model.seed, "validation", counted)
            noise = replica_noise(self.model.config, images.shape[0], seed)
            terms = self.model.elbo_terms(images, noise, label=label)
            terms = [*terms.reported(), tf.ones_like(weights)]
            return tf.stack([tf.reduce_sum(tf.where(weights > 0, term, 0.0)) for term in terms])

        sums = self.strategy.run(on_replica, args=next(iterator))
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, sums, axis=None)
