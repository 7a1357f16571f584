"""The devices of a run (one, all GPUs of a machine, or those of several machines) and the role of each worker."""

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

# The errors of a collective operation if another worker is gone.
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
        strategy: TensorFlow's distribution strategy; the default strategy on a single device.
        cluster: all worker processes, including this one.
    """

    strategy: tf.distribute.Strategy
    cluster: Cluster = Cluster()

    @property
    def num_replicas(self) -> int:
        """The number of copies of the model in training, over all workers."""
        return self.strategy.num_replicas_in_sync

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the records of the run."""
        return self.cluster.is_chief

    def describe(self) -> dict:
        """Returns the devices' entries in a record."""
        return {"workers": self.cluster.size, "replicas": self.num_replicas}

    def gather(self, value: int) -> list[int]:
        """Waits for all workers and returns their values in the order of the workers."""
        if self.cluster.size == 1:
            return [value]

        @tf.function(autograph=False)
        def gathered(own):
            own = self.strategy.run(lambda: own[None])
            return self.strategy.gather(own, axis=0)

        every = gathered(tf.constant(value, tf.int64)).numpy()
        return [int(item) for item in every[:: self.num_replicas // self.cluster.size]]

    def distribute(self, batches: Callable[[int, int], tf.data.Dataset], per_replica: int):
        """Distributes a dataset: replica r gets `per_replica` rows of every global batch, from r * per_replica on.

        Args:
            batches: `batches(count, index)` returns the dataset of worker `index` of `count`, which holds that worker's
                consecutive rows. It is endless, and an element has one or more tensors, each
                (local replicas * per_replica, ...).
            per_replica: images for each replica.
        """
        local = self.num_replicas // self.cluster.size

        def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
            def split(*tensors):
                blocks = [tf.reshape(rows, (local, per_replica, *rows.shape[1:])) for rows in tensors]
                return tf.data.Dataset.from_tensor_slices(blocks[0] if len(blocks) == 1 else tuple(blocks))

            mine = batches(context.num_input_pipelines, context.input_pipeline_id)
            # The replicas of a worker take turns: consecutive elements go to consecutive replicas.
            own = mine if local == 1 else mine.flat_map(split)
            # Declared endless; otherwise every step would first ask all replicas whether they have a batch left.
            return own.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)).prefetch(
                tf.data.AUTOTUNE
            )

        return self.strategy.distribute_datasets_from_function(of_worker)

    @contextlib.contextmanager
    def all_or_none(self, at_the_end: bool = False) -> Iterator[None]:
        """Makes workers wait for each other at the end of the block. A UserError on one worker stops all of them.

        Args:
            at_the_end: of a run. A worker leaves when it has heard from all others. The chief is the last to leave, so
                that all hear from it, and has done its work even if another left before it was heard.
        """
        problem = None
        try:
            yield
        except UserError as error:
            problem = error
        is_last = at_the_end and self.is_chief
        try:
            failed = self.gather(int(problem is not None))
        except _LOST:
            if not is_last:
                raise
            failed = []
        if is_last:
            self.cluster.wait_until_alone()
        if problem is not None:
            raise problem
        if any(failed):
            raise ClusterError(f"{self.cluster.name(failed.index(1))} stopped; its own message says why")

    @contextlib.contextmanager
    def telling_of_lost_workers(self) -> Iterator[None]:
        """Turns TensorFlow's errors about a lost worker into one ClusterError."""
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
    """Starts the devices of a run. Several workers wait for each other here.

    Call it before any other use of TensorFlow, which could no longer split the CPU or join workers.

    Raises:
        ClusterError: if TF_CONFIG cannot be used, or an address is taken.
        ConfigError: if the global batch does not divide evenly over the replicas.
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
    """Waits for all workers and returns their strategy."""
    own = cluster.name(cluster.index)
    print(f"{own} of {cluster.size}: waiting for the others", flush=True)
    # During the wait, Python's own handler could not react to Ctrl-C.
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
