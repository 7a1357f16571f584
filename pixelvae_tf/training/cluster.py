"""The worker processes of a run on several machines, as the environment variable TF_CONFIG names them.

    {"cluster": {"worker": ["a.example:2222", "b.example:2222"]}, "task": {"type": "worker", "index": 0}}

Every worker has the same cluster and its own task. Nothing here needs TensorFlow, so that a mistake is told before
its slow import.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
from typing import Any

from pixelvae_tf.config import TrainConfig
from pixelvae_tf.errors import UserError

VARIABLE = "TF_CONFIG"
_EXAMPLE = '{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, "task": {"type": "worker", "index": 0}}'


class ClusterError(UserError):
    """A cluster that cannot be used, or has come apart; the message is one line with the remedy."""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers of a run and which of them this process is.

    Attributes:
        addresses: "host:port" of every worker; the first is the chief, which writes the records of the run.
        index: of this process among them.
    """

    addresses: tuple[str, ...] = ("this machine",)
    index: int = 0

    @property
    def size(self) -> int:
        """Number of worker processes."""
        return len(self.addresses)

    @property
    def is_chief(self) -> bool:
        """Whether this worker writes the records of the run."""
        return self.index == 0

    def name(self, index: int) -> str:
        """A worker as messages name it."""
        return f"worker {index} ({self.addresses[index]})"

    def unreachable(self, seconds: float = 2.0) -> list[str]:
        """Names of the other workers that take no connection at present."""
        found = []
        for index, address in enumerate(self.addresses):
            host, _, port = address.rpartition(":")
            if index != self.index:
                try:
                    socket.create_connection((host.strip("[]"), int(port)), seconds).close()
                except OSError:
                    found.append(self.name(index))
        return found


def cluster_of(training: TrainConfig) -> Cluster:
    """The worker processes that the strategy of a run asks for.

    Raises:
        ClusterError: for a TF_CONFIG that cannot be used, or is missing where the strategy needs it.
    """
    if training.strategy in ("one_device", "mirrored"):
        return Cluster()
    found = from_environment()
    if found is None and training.strategy == "multi_worker":
        raise ClusterError(f"strategy='multi_worker' needs {VARIABLE}, which is not set; write it like {_EXAMPLE}")
    return found or Cluster()


def from_environment() -> Cluster | None:
    """The cluster that TF_CONFIG names, or None where the variable is not set.

    Raises:
        ClusterError: for a value that is not JSON, or names no cluster, no task, or a task that the cluster lacks.
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
    """One of the two objects that TF_CONFIG consists of."""
    if not isinstance(value, dict) or not isinstance(value.get(name), dict) or not value[name]:
        raise ClusterError(f"{VARIABLE} has no {name}; write it like {_EXAMPLE}")
    return value[name]


def _addresses(jobs: dict) -> dict[str, list[str]]:
    """The addresses by job, the chief's first. Raises ClusterError for other jobs and for what is no address."""
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
