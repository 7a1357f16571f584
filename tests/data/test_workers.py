"""Worker processes end with the process that started them, however that ends."""

import multiprocessing
import os
import select
import signal
import threading

import pytest

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


def same(chunk: list) -> list:
    return chunk


def test_a_signal_while_the_workers_start_ends_them_all(monkeypatch):
    """A pool that were left with one of its two workers would wait for it for ever, at the end of the process."""
    process = multiprocessing.get_context("spawn").Process
    start = process.start

    def start_and_interrupt(self):
        start(self)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(process, "start", start_and_interrupt)
    # Commands that other tests ran in this process ignore it in the end.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            list(workers.map_in_order(same, range(RECORDS), processes=2))
        assert not multiprocessing.active_children()
    finally:
        signal.signal(signal.SIGINT, before)
        for child in multiprocessing.active_children():
            child.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_a_short_step_is_handled_at_its_end(number):
    handled = []
    before = signal.signal(number, lambda number, frame: handled.append(number))
    try:
        handler = signal.getsignal(number)
        with workers.uninterrupted():
            signal.raise_signal(number)
            assert not handled
        assert handled == [number]
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)


def test_other_threads_than_the_main_one_leave_the_handling_of_signals_as_it_is():
    before, found = signal.getsignal(signal.SIGINT), []

    def step():
        with workers.uninterrupted():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=step)
    thread.start()
    thread.join()
    assert found == [before]
