"""The devices of a run: one, all GPUs of a machine, or those of several machines; and who does what on them."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import threading
from collections.abc import Callable, Iterator

import tensorflow as tf

from pixelvae_tf.config import ConfigError, TrainConfig
from pixelvae_tf.errors import UserError
from pixelvae_tf.training.cluster import Cluster, ClusterError, cluster_of

# What a collective operation raises when a worker at the other end is gone.
_LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
    tf.errors.UnknownError,
)

_TOO_LATE = "TensorFlow is in use already in this process; make the devices first"


@dataclasses.dataclass(frozen=True)
class Devices:
    """The strategy of a run and the role of this process in it.

    Attributes:
        strategy: TensorFlow's distribution strategy; the default one on a single device.
        cluster: the worker processes, of which this is one.
    """

    strategy: tf.distribute.Strategy
    cluster: Cluster = Cluster()

    @property
    def num_replicas(self) -> int:
        """Copies of the model in training, over all workers."""
        return self.strategy.num_replicas_in_sync

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the records of the run."""
        return self.cluster.is_chief

    def describe(self) -> dict:
        """What a record says about the devices."""
        return {"workers": self.cluster.size, "replicas": self.num_replicas}

    def gather(self, value: int) -> list[int]:
        """The values that all workers give here, in their order; waits for all of them."""
        if self.cluster.size == 1:
            return [value]

        @tf.function(autograph=False)
        def gathered(own):
            own = self.strategy.run(lambda: own[None])
            return self.strategy.gather(own, axis=0)

        every = gathered(tf.constant(value, tf.int64)).numpy()
        return [int(item) for item in every[:: self.num_replicas // self.cluster.size]]

    def distribute(self, batches: Callable[[int, int], tf.data.Dataset], per_replica: int):
        """One dataset over all replicas: replica r gets rows r * per_replica onward of every global batch.

        Args:
            batches: gives worker `index` of `count` its dataset of consecutive rows, as `batches(count, index)`:
                endless, of one tensor or several, (local replicas * per_replica, ...) each.
            per_replica: images a replica.
        """
        local = self.num_replicas // self.cluster.size

        def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
            def split(*tensors):
                blocks = [tf.reshape(rows, (local, per_replica, *rows.shape[1:])) for rows in tensors]
                return tf.data.Dataset.from_tensor_slices(blocks[0] if len(blocks) == 1 else tuple(blocks))

            mine = batches(context.num_input_pipelines, context.input_pipeline_id)
            # Replicas of a worker take turns: consecutive elements are those of consecutive replicas.
            own = mine if local == 1 else mine.flat_map(split)
            # Known to be endless, or every step would begin by asking all replicas whether they have a batch left.
            return own.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)).prefetch(
                tf.data.AUTOTUNE
            )

        return self.strategy.distribute_datasets_from_function(of_worker)

    @contextlib.contextmanager
    def all_or_none(self) -> Iterator[None]:
        """All workers do the block and wait for each other at its end; a UserError in it on one of them stops all."""
        problem = None
        try:
            yield
        except UserError as error:
            problem = error
        failed = self.gather(int(problem is not None))
        if problem is not None:
            raise problem
        if any(failed):
            raise ClusterError(f"{self.cluster.name(failed.index(1))} stopped; its own message says why")

    @contextlib.contextmanager
    def telling_of_lost_workers(self) -> Iterator[None]:
        """Turns what TensorFlow raises when another worker is gone into one ClusterError."""
        try:
            yield
        except _LOST as error:
            if self.cluster.size == 1:
                raise
            gone = self.cluster.unreachable()
            who = ", ".join(gone) if gone else f"another worker ({_first_line(error)})"
            raise ClusterError(
                f"lost {who}: training stops; the last checkpoint is kept: start the same command on every worker "
                "to continue"
            ) from None


def create_devices(training: TrainConfig) -> Devices:
    """The devices that a run asks for. Several workers wait here for each other.

    Call it before any other use of TensorFlow: neither a divided CPU nor several workers can be had afterwards.

    Raises:
        ClusterError: for a TF_CONFIG that cannot be used, or an address that is taken.
        ConfigError: for a global batch that does not divide over the replicas.
    """
    cluster = cluster_of(training)
    gpus = len(tf.config.list_physical_devices("GPU"))
    local = 1 if training.strategy == "one_device" else training.cpu_devices or max(1, gpus)
    _check_batch(training.batch_size, cluster.size, local)
    if cluster.size > 1:
        return Devices(_joined(cluster), cluster)
    if training.cpu_devices:
        cpu = tf.config.list_physical_devices("CPU")[0]
        try:
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * local)
        except RuntimeError:
            raise ConfigError(f"cpu_devices={local}: {_TOO_LATE}") from None
        return Devices(tf.distribute.MirroredStrategy([f"CPU:{index}" for index in range(local)]))
    if local > 1 or training.strategy == "mirrored":
        return Devices(tf.distribute.MirroredStrategy())
    return Devices(tf.distribute.get_strategy())


def _check_batch(batch_size: int, workers: int, local: int) -> None:
    replicas = workers * local
    where = f"{replicas} replicas ({workers} workers with {local} each)" if workers > 1 else f"{replicas} replicas"
    if batch_size < replicas:
        raise ConfigError(f"batch_size={batch_size}: fewer images than {where}; use a multiple of {replicas}")
    if batch_size % replicas:
        below = batch_size - batch_size % replicas
        raise ConfigError(
            f"batch_size={batch_size}: does not divide over {where}; use a multiple of {replicas}, such as {below}"
        )


def _joined(cluster: Cluster) -> tf.distribute.Strategy:
    """The strategy of several workers, once all of them are there."""
    own = cluster.name(cluster.index)
    print(f"{own} of {cluster.size}: waiting for the others", flush=True)
    # Python would see Ctrl-C only after the wait.
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_DFL) if in_main_thread else None
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except tf.errors.OpError as error:
        raise ClusterError(
            f"{own} cannot join the others ({_first_line(error)}); check that the address is "
            "free and that every worker has the same cluster in TF_CONFIG"
        ) from None
    except RuntimeError:
        raise ClusterError(f"{own} cannot join the others: {_TOO_LATE}") from None
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, before)


def _first_line(error: tf.errors.OpError) -> str:
    return error.message.strip().splitlines()[0][:200] if error.message.strip() else type(error).__name__
