"""Worker processes of one cluster on this machine."""

import contextlib
import json
import socket
import subprocess

from commands import Forked

from pixelvae_tf.training.cluster import VARIABLE


def configuration(index: int, *addresses: str, kind: str = "worker") -> str:
    return json.dumps({"cluster": {"worker": list(addresses)}, "task": {"type": kind, "index": index}})


def two_addresses() -> list[str]:
    """Two ports of this machine that nobody listens to."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for one in sockets:
            one.bind(("localhost", 0))
        return [f"localhost:{one.getsockname()[1]}" for one in sockets]


def start_workers(begin, *arguments: list) -> list[Forked]:
    """Starts a process for each list of arguments by `begin`, all of them workers of one cluster."""
    addresses = two_addresses()
    return [begin(*own, **{VARIABLE: configuration(index, *addresses)}) for index, own in enumerate(arguments)]


def ended(processes: list[Forked], timeout: float = 600) -> list[subprocess.CompletedProcess]:
    """What the processes wrote, once all of them have ended; none outlives this."""
    with contextlib.ExitStack() as stack:
        for process in processes:
            stack.callback(process.kill)
        return [process.ended(timeout) for process in processes]
