"""Trains in a work directory, from the start or from the last checkpoint."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable

import keras
import tensorflow as tf

from pixelvae_tf import data, files
from pixelvae_tf.config import RunConfig
from pixelvae_tf.files import FileError
from pixelvae_tf.model.pixelvae import PixelVAE
from pixelvae_tf.model.replicas import StopFlag
from pixelvae_tf.networks.factory import NetworkFactory
from pixelvae_tf.runs import checkpoints, history
from pixelvae_tf.runs.environment import environment
from pixelvae_tf.runs.workdir import Run
from pixelvae_tf.training import callbacks
from pixelvae_tf.training.devices import Devices, create_devices
from pixelvae_tf.training.initialization import Source, source_of
from pixelvae_tf.training.optimizers import optimizer_of
from pixelvae_tf.training.precision import with_precision
from pixelvae_tf.training.validation import Validation, ValidationRecords, validation_of

_CHECKPOINTS_KEPT = 2


def build_model(config: RunConfig, networks: Callable[..., NetworkFactory] = NetworkFactory) -> PixelVAE:
    """Returns a new model, compiled for training, with weights from the seed. `networks` makes its layers."""
    training = with_precision(config).training
    keras.utils.set_random_seed(training.seed)
    policy = "mixed_bfloat16" if training.mixed_precision == "bfloat16" else "float32"
    with _recomputing(config):
        model = PixelVAE(config.model, networks, dtype=policy)
    model.compile(
        optimizer_of(training),
        kl_warmup_steps=training.kl_warmup_steps,
        prior_scale_floor_steps=training.prior_scale_floor_steps,
        clip_value=training.gradient_clip_value,
        clip_norm=training.gradient_clip_norm,
        ema_decay=training.ema_decay,
        dropout=training.dropout,
        kl_weight=training.kl_weight,
        free_bits=training.free_bits,
        compile_step=training.compile_step,
        seed=training.seed,
    )
    return model


def _recomputing(config: RunConfig) -> keras.RematScope:
    """Returns a scope in which masked blocks are made that recompute their maps for the gradient, if configured."""
    model = config.model
    count = max(model.pixelcnn_layers, model.latent_pixelcnn_layers) + model.output_layers
    names = [f"block_{index}" for index in range(count)]
    return keras.RematScope("list_of_layers", layer_names=names if config.training.recompute_blocks else [])


def train(config: RunConfig, workdir: str, devices: Devices | None = None) -> dict:
    """Trains in `workdir` until `config.training.steps`, continuing from its last checkpoint.

    Args:
        config: the configuration of the run, the same on all workers.
        workdir: the work directory, on storage that all workers share.
        devices: the devices to train on; None to start those of the configuration.

    Returns:
        The summary of the run, which `summary.json` records. A worker other than the chief returns only its steps. An
        interrupted run returns its steps and `interrupted_by`, the name of the signal.

    Raises:
        FileError: if the work directory cannot be used, another training uses it, or all its checkpoints are damaged
            or lost.
        DataError: for data that cannot be read, or fewer images than a batch.
        TrainingError: if the loss is not finite.
        ClusterError: if other workers cannot be reached, or have stopped.
    """
    devices = devices or create_devices(config.training)
    with devices.telling_of_lost_workers(), data.reading(config.data), contextlib.ExitStack() as until_the_end:
        return _train(config, Run(workdir), devices, until_the_end)


def _train(config: RunConfig, run: Run, devices: Devices, until_the_end: contextlib.ExitStack) -> dict:
    training = config.training
    if training.deterministic:
        tf.config.experimental.enable_op_determinism()
    with devices.all_or_none():
        classes = data.classes_of_model(config.data, config.model.num_classes)
        validation = data.evaluation_batches(
            config.data,
            "validation",
            batch_size=training.batch_size,
            max_examples=training.validation_examples,
            labelled=classes is not None,
        )
        _check_training_data(config, devices)
        if devices.is_chief:
            config, source = source_of(config, run)
            until_the_end.enter_context(run.in_training())
            config = with_precision(config, run)
            run.claim(config)
            run.keep_classes(classes)
            changed = run.keep_fingerprint(data.fingerprint(config.data))
            if changed:
                print(changed, file=sys.stderr)
    with devices.all_or_none():
        if not devices.is_chief:
            run.join(config)
            config, source = source_of(with_precision(config, run), run)
    with devices.strategy.scope():
        model = build_model(config)
        seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False, name="seconds")
    with run.checkpoint_folder(devices.is_chief) as folder:
        checkpoint = _checkpoint_of(model, seconds)
        with devices.all_or_none():
            start, notes = _restore(checkpoint, model, run, training.checkpoint_every)
            if not start:
                _initialize(model, config, source, devices)
        del source
        _check_same_step(devices.gather(start), run)
        with devices.all_or_none():
            if devices.is_chief:
                _make_ready(run, start, [*notes, run.check_best(will_validate=start < training.steps)])
        manager = tf.train.CheckpointManager(checkpoint, str(folder), _CHECKPOINTS_KEPT)
        if start < training.steps:
            measure = validation_of(model, validation, training.batch_size, devices)
            examples = next(validation.as_numpy_iterator())
            around = _callbacks(config, run, devices, model, manager, seconds, measure, examples)
            received = _fit(model, _training_batches(config, devices, start), training.steps - start, around)
            step = int(model.optimizer.iterations.numpy())
            if step < training.steps:
                return {"steps": step, "interrupted_by": received}
    with devices.all_or_none(at_the_end=True):
        return _finish(config, run, model, seconds, devices)


def _check_training_data(config: RunConfig, devices: Devices) -> None:
    """Makes the batches, which raises DataError if a batch is larger than the data, before anything is written."""
    _training_batches(config, devices, start_step=0)


def _training_batches(config: RunConfig, devices: Devices, start_step: int):
    """Returns the training batches from a step on. Each replica gets its rows of every global batch."""
    training = config.training

    def of_worker(count: int, index: int) -> tf.data.Dataset:
        return data.training_batches(
            config.data,
            batch_size=training.batch_size,
            seed=training.seed,
            start_step=start_step,
            num_shards=count,
            shard_index=index,
            labelled=bool(config.model.num_classes),
            augmentation=data.Augmentation(training.augmentation, training.augmentation_steps),
        )

    if devices.num_replicas == 1:
        return of_worker(1, 0)
    return devices.distribute(of_worker, training.batch_size // devices.num_replicas)


def _checkpoint_of(model: PixelVAE, seconds: tf.Variable) -> tf.train.Checkpoint:
    state = {"model": model, "optimizer": model.optimizer, "seconds": seconds}
    if model.average is not None:
        state["average"] = model.average
    return tf.train.Checkpoint(**state)


def _restore(checkpoint: tf.train.Checkpoint, model: PixelVAE, run: Run, every: int) -> tuple[int, list[str]]:
    """Restores the newest intact checkpoint, if there is any.

    It tries the checkpoints themselves, because the file that names the latest one may be damaged too.

    Returns:
        The number of steps already taken, and what was wrong with newer checkpoints.

    Raises:
        FileError: if the run has had checkpoints and none is intact.
    """
    there, notes = checkpoints.steps(run.checkpoints), []
    validated = max((entry["step"] for entry in history.entries(run.history_file)), default=0)
    has_saved = (run.checkpoints / checkpoints.STATE).exists() or run.summary_file.exists() or validated > every
    if len(there) == 1 and not has_saved:
        # A training that is killed in its first save leaves half a checkpoint, and nothing else is lost. It is not
        # restored even in part, because the run begins again with the weights of its seed.
        place = checkpoints.prefix(run.checkpoints, there[0])
        if damage := checkpoints.damage(place):
            return 0, [f"{place}: the first save did not end ({damage})"]
    for step in there:
        place = checkpoints.prefix(run.checkpoints, step)
        try:
            checkpoint.restore(str(place)).assert_existing_objects_matched()
        except (tf.errors.PermissionDeniedError, tf.errors.ResourceExhaustedError):
            raise  # the checkpoint itself may be intact
        except (tf.errors.OpError, AssertionError, IndexError, RuntimeError, ValueError) as error:
            notes.append(f"{place}: this checkpoint is damaged ({checkpoints.reason(error)})")
            continue
        if (found := int(model.optimizer.iterations.numpy())) == step:
            return step, notes
        notes.append(f"{place}: this checkpoint is of step {found}")
    remedy = "restore one, or train anew in another folder"
    if there:
        raise FileError(f"{notes[0]}, and no other there is whole; {remedy}")
    if has_saved:
        raise FileError(f"{run.checkpoints}: holds no checkpoint, but the run has had one; {remedy}")
    return 0, notes


def _make_ready(run: Run, start: int, notes: list[str | None]) -> None:
    """Repairs the records for a run that continues from step `start`, and reports what was damaged."""
    notes = [note for note in notes if note]
    there = checkpoints.steps(run.checkpoints)
    if start:
        # Damaged checkpoints go first, because the manager deletes the first ones first.
        damaged, whole = [step for step in there if step > start], sorted(step for step in there if step <= start)
        checkpoints.write_state(run.checkpoints, [*damaged, *whole])
    if mended := history.mend(run.history_file):
        notes.append(mended)
    for note in notes:
        print(f"{note}; the run goes on from step {start}", flush=True)


def _initialize(model: PixelVAE, config: RunConfig, source: Source | None, devices: Devices) -> None:
    """Starts from the weights of another model, if configured. The chief prints which ones match."""
    training = config.training
    if not training.initialize_from:
        return
    source = source or Source(training.initialize_from, training.initialize_from_sha256)
    with devices.strategy.scope():
        lines = source.put_into(model)
    if devices.is_chief:
        print("\n".join(lines), flush=True)


def _check_same_step(steps: list[int], run: Run) -> None:
    if len(set(steps)) > 1:
        raise FileError(
            f"--workdir={run.workdir}: the workers found checkpoints of different steps there "
            f"({', '.join(map(str, steps))}); choose a folder on storage that all workers share"
        )


def _callbacks(config, run, devices, model, manager, seconds, measure, examples) -> list[keras.callbacks.Callback]:
    """Returns the callbacks of this worker. Only the chief's write records and show progress."""
    training = config.training
    model.stop_flag = StopFlag() if devices.cluster.size > 1 else None
    timer = callbacks.Timer(training.batch_size, seconds)
    steps = [timer, callbacks.StopOnNonFinite(), callbacks.StopOnSignal(model.stop_flag)]
    saving = callbacks.Checkpoints(manager, training.checkpoint_every, run.check_in_place)
    if not devices.is_chief:
        return [*steps, Validation(measure, training.validation_every, training.steps, None), saving]
    progress = callbacks.Progress(training.steps, timer)
    writers = {name: tf.summary.create_file_writer(str(run.workdir / name)) for name in ("train", "validation")}
    records = ValidationRecords(run, writers["validation"], progress.report)
    return [
        *steps,
        Validation(measure, training.validation_every, training.steps, records),
        saving,
        callbacks.TensorBoard(writers["train"], config, timer, str(run.workdir / "train")),
        callbacks.ImageGrids(writers["validation"], examples, training.images_every, training.steps),
        progress,
    ]


def _fit(model: PixelVAE, batches, steps: int, around: list[keras.callbacks.Callback]) -> str | None:
    """Takes `steps` training steps. Returns the name of the signal that ended them early, or None."""
    try:
        with warnings.catch_warnings():
            # If a callback raises an error, Keras also warns that the input, which has no end, ran out of data.
            warnings.filterwarnings("ignore", "Your input ran out of data")
            # The stream is shuffled already.
            model.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=around)
    finally:
        for callback in around:
            callback.close()
    return next(callback.received for callback in around if isinstance(callback, callbacks.StopOnSignal))


def _finish(config: RunConfig, run: Run, model: PixelVAE, seconds: tf.Variable, devices: Devices) -> dict:
    steps = int(model.optimizer.iterations.numpy())
    if not devices.is_chief:
        return {"steps": steps}
    run.check_in_place()
    best = run.best()
    summary = {
        "steps": steps,
        "best_step": best["step"],
        "best_validation_bound_nats": best["nll_bound_nats"],
        "weights": best["weights"],
        "precision": model.dtype_policy.name,
        "parameters": model.count_params(),
        "training_seconds": round(float(seconds.numpy()), 1),
        "seed": config.training.seed,
        **devices.describe(),
        **environment(),
    }
    files.write_json(run.summary_file, summary)
    return summary
