"""Worker processes end with the process that started them, however that ends."""

import multiprocessing
import os
import select
import signal

from pixelvae_tf.data.preparation import workers

RECORDS = 64  # Enough for two workers.


def hold_open(paths: list[str]) -> list:
    """Holds a pipe open for as long as this worker lives."""
    with open(paths[0], "w") as pipe:
        print(os.getpid(), file=pipe, flush=True)
        select.select([], [], [])
    return paths


def start_workers(path: str) -> None:
    list(workers.map_in_order(hold_open, [path] * RECORDS, processes=2))


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    parent = multiprocessing.get_context("spawn").Process(target=start_workers, args=(str(path),))
    parent.start()
    with open(path) as pipe:
        processes = [int(pipe.readline()) for _ in range(2)]
        parent.kill()
        parent.join()
        # The pipe is at its end when no worker holds it: that is waited for, but not for ever.
        ended = bool(select.select([pipe], [], [], 60)[0])
    if not ended:
        for process in processes:
            os.kill(process, signal.SIGKILL)
    assert ended
