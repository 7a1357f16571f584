"""The worker processes of a run on several machines, from the environment variable TF_CONFIG.

    {"cluster": {"worker": ["a.example:2222", "b.example:2222"]}, "task": {"type": "worker", "index": 0}}

Every worker has the same cluster and its own task. This module does not import TensorFlow, so errors appear before
that slow import.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import time
from typing import Any

from pixelvae_tf.config import TrainConfig
from pixelvae_tf.errors import UserError

VARIABLE = "TF_CONFIG"
_EXAMPLE = '{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, "task": {"type": "worker", "index": 0}}'


class ClusterError(UserError):
    """A cluster is unusable or has lost a worker. The message is one line with the remedy."""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers of a run, and the position of this process among them.

    Attributes:
        addresses: "host:port" of every worker; the first is the chief, which writes the records of the run.
        index: the index of this process in `addresses`.
    """

    addresses: tuple[str, ...] = ("this machine",)
    index: int = 0

    @property
    def size(self) -> int:
        """The number of worker processes."""
        return len(self.addresses)

    @property
    def is_chief(self) -> bool:
        """Whether this worker writes the records of the run."""
        return self.index == 0

    def name(self, index: int) -> str:
        """Returns the name of a worker for messages."""
        return f"worker {index} ({self.addresses[index]})"

    def unreachable(self, seconds: float = 2.0) -> list[str]:
        """Returns the names of the other workers that do not accept a connection now."""
        found = []
        for index, address in enumerate(self.addresses):
            host, _, port = address.rpartition(":")
            if index != self.index:
                try:
                    socket.create_connection((host.strip("[]"), int(port)), seconds).close()
                except OSError:
                    found.append(self.name(index))
        return found

    def wait_until_alone(self, seconds: float = 10.0) -> None:
        """Waits until the processes of all other workers have ended, or `seconds` at most."""
        ends = time.monotonic() + seconds
        while len(self.unreachable()) < self.size - 1 and time.monotonic() < ends:
            time.sleep(0.02)


def cluster_of(training: TrainConfig) -> Cluster:
    """Returns the worker processes for the strategy of a run.

    Raises:
        ClusterError: if TF_CONFIG cannot be used, or the strategy needs it and it is not set.
    """
    if training.strategy in ("one_device", "mirrored"):
        return Cluster()
    found = from_environment()
    if found is None and training.strategy == "multi_worker":
        raise ClusterError(f"strategy='multi_worker' needs {VARIABLE}, which is not set; write it like {_EXAMPLE}")
    return found or Cluster()


def from_environment() -> Cluster | None:
    """Reads the cluster from TF_CONFIG; returns None if the variable is not set.

    Raises:
        ClusterError: if the value is not JSON, or has no cluster, no task, or a task that is not in the cluster.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ClusterError(f"{VARIABLE} is not JSON ({error}); write it like {_EXAMPLE}") from None
    addresses = _addresses(_entry(value, "cluster"))
    task = _entry(value, "task")
    kind, index = task.get("type"), task.get("index")
    if kind not in addresses or type(index) is not int or not 0 <= index < len(addresses[kind]):
        known = ", ".join(f"{name} 0 to {len(hosts) - 1}" for name, hosts in addresses.items())
        raise ClusterError(f"{VARIABLE}: its task is {kind} {index}, but its cluster has {known}; name one")
    before = len(addresses.get("chief", ())) if kind == "worker" else 0
    return Cluster(tuple(host for hosts in addresses.values() for host in hosts), before + index)


def _entry(value: Any, name: str) -> dict:
    """Returns one of the two objects in TF_CONFIG. Raises ClusterError if it is missing."""
    if not isinstance(value, dict) or not isinstance(value.get(name), dict) or not value[name]:
        raise ClusterError(f"{VARIABLE} has no {name}; write it like {_EXAMPLE}")
    return value[name]


def _addresses(jobs: dict) -> dict[str, list[str]]:
    """Returns the addresses by job, the chief's first. Raises ClusterError for other jobs and malformed addresses."""
    for job, hosts in jobs.items():
        if job not in ("chief", "worker"):
            raise ClusterError(f"{VARIABLE}: its cluster has {job!r}; training has workers alone (and one chief)")
        if not isinstance(hosts, list) or not hosts or not all(isinstance(host, str) for host in hosts):
            raise ClusterError(f'{VARIABLE}: {job} is {hosts!r}; give a list of "HOST:PORT"')
        for host in hosts:
            name, _, port = host.rpartition(":")
            if not name or not port.isdecimal() or not 0 < int(port) < 65536:
                raise ClusterError(f'{VARIABLE}: {job} {host!r} is no address; write "HOST:PORT"')
    if len(jobs.get("chief", ())) > 1:
        raise ClusterError(f"{VARIABLE}: its cluster has several chiefs; name one")
    every = [host for hosts in jobs.values() for host in hosts]
    for host in every:
        if every.count(host) > 1:
            raise ClusterError(f"{VARIABLE}: the address {host} stands twice; every worker needs its own")
    return {job: jobs[job] for job in ("chief", "worker") if job in jobs}
