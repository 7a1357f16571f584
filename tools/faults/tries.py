"""Tries of a campaign: counts outcomes by kind of fault, and runs commands in processes that may be killed."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import fcntl
import multiprocessing
import os
import pathlib
import re
import resource
import runpy
import signal
import sys
import tempfile
import time
from collections.abc import Sequence

from absl import flags

from pixelvae_tf import files

OUTCOMES = ("right", "refused", "wrong", "hung")
_HANG_SECONDS = 300
ROOT = pathlib.Path(__file__).parent.parent.parent
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tensorflow"])
_MARK = "PIXELVAE_TRY"
_MOST_ERRORS = 1 << 20
_LEFTOVER = re.compile(r".*(_temp|tempstate\w*|\.incomplete|\.thumbnails)|\.lock")


class Hung(Exception):
    """A try did not end."""


@dataclasses.dataclass
class Tally:
    """Outcomes by kind of fault.

    Attributes:
        counts: for each kind, the number of tries with each outcome, and of those that left files behind.
        notes: a note on every try that was neither right nor refused.
    """

    counts: dict[str, collections.Counter] = dataclasses.field(
        default_factory=lambda: collections.defaultdict(collections.Counter)
    )
    notes: list[str] = dataclasses.field(default_factory=list)

    def add(self, kind: str, outcome: str, note: str = "", left: list[str] | None = None) -> None:
        self.counts[kind][outcome] += 1
        self.counts[kind]["left behind"] += bool(left)
        if outcome in ("wrong", "hung") or left:
            self.notes.append(f"{kind}: {outcome}: {note} {left or ''}".strip())

    def rows(self) -> list[dict]:
        names = (*OUTCOMES, "left behind")
        return [
            {"fault": kind, "tries": sum(counts[name] for name in OUTCOMES), **{name: counts[name] for name in names}}
            for kind, counts in sorted(self.counts.items())
        ]


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: the exit code, negative for a signal.
        errors: the content of stderr.
    """

    code: int
    errors: str

    @property
    def in_one_line(self) -> bool:
        """Whether it failed as a command should, with one line."""
        lines = [line for line in self.errors.splitlines() if line.strip()]
        return self.code == 1 and len(lines) == 1 and lines[0].startswith("error: ")

    @property
    def before_its_start(self) -> bool:
        """Whether Ctrl-C came while Python still imported the command: Python shows that as a traceback."""
        return self.errors.strip().endswith("KeyboardInterrupt") and "program.py" not in self.errors


def command(
    words: list[str],
    *,
    kill_after: float | None = None,
    signals: Sequence[tuple[float, int]] = (),
    largest_file: int | None = None,
    mark: str = "",
    hang_seconds: float = _HANG_SECONDS,
) -> Ended:
    """Runs a command of the package, or a tool, in its own process.

    Args:
        words: its name and its flags.
        kill_after: seconds after which to kill it; None to let it run.
        signals: signals to send while it runs, each with the seconds since its start or the signal before.
        largest_file: limit on the bytes of a file. A write beyond it fails as on a full disk.
        mark: by which `marked` finds the processes that it starts.
        hang_seconds: time limit. A command that takes longer hangs.

    Raises:
        Hung: if it does not end by itself.
    """
    with _Errors() as errors:
        process = _FORKS.Process(target=_become, args=(words, errors.path, largest_file, mark))
        process.start()
        for seconds, number in signals:
            process.join(seconds)
            # It may end between the question and the signal.
            with contextlib.suppress(ProcessLookupError):
                if process.exitcode is None:
                    os.kill(process.pid, number)
        process.join(hang_seconds if kill_after is None else kill_after)
        if process.exitcode is None:
            process.kill()
            process.join()
            if kill_after is None:
                raise Hung
        return Ended(process.exitcode, errors.read())


class _Errors:
    """A pipe for stderr, which no limit on the size of files concerns; a context manager."""

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self._folder.name, "stderr")
        os.mkfifo(self.path)
        self._pipe = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        with contextlib.suppress(AttributeError, OSError):
            fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, _MOST_ERRORS)
        return self

    def __exit__(self, *_):
        os.close(self._pipe)
        self._folder.cleanup()

    def read(self) -> str:
        """Returns what was written so far."""
        with contextlib.suppress(BlockingIOError):
            return os.read(self._pipe, _MOST_ERRORS).decode(errors="replace")
        return ""


def _become(words: list[str], errors: pathlib.Path, largest_file: int | None, mark: str) -> None:
    """Turns the new process into the command."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(errors, os.O_WRONLY), 2)
    if largest_file is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
    os.environ.update(CUDA_VISIBLE_DEVICES="-1", TF_CPP_MIN_LOG_LEVEL="3", **{_MARK: mark})
    sys.path[:0] = [str(ROOT), str(ROOT / "tools")]
    # The process inherits the flags of the tool that forked it, beside absl's own.
    by_module = flags.FLAGS.flags_by_module_dict()
    for name in [flag.name for module in by_module if not module.startswith("absl.") for flag in by_module[module]]:
        delattr(flags.FLAGS, name)
    sys.argv, program = [str(word) for word in words], words[0]
    run = runpy.run_path if program.endswith(".py") else runpy.run_module
    run(program, run_name="__main__", **({} if program.endswith(".py") else {"alter_sys": True}))


@contextlib.contextmanager
def in_time(seconds: int):
    """Raises Hung if the block takes longer."""

    def end(number, frame):
        raise Hung

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def left_in(folder: pathlib.Path) -> list[str]:
    """Returns the temporary names in a folder."""
    names = (path.name for path in folder.rglob("*"))
    return sorted(name for name in names if files.is_temporary(name) or _LEFTOVER.fullmatch(name))


def marked(mark: str, seconds: float = 30.0) -> list[str]:
    """Returns the processes that a command with this mark started and that still run after this many seconds."""
    given_up = time.monotonic() + seconds
    while (found := _marked(mark)) and time.monotonic() < given_up:
        time.sleep(0.2)
    return [f"process {number}" for number in found]


def _marked(mark: str) -> list[int]:
    found, sought = [], f"{_MARK}={mark}".encode()
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if sought in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def hang_seconds_of(seconds: float) -> float:
    """Returns the time limit of a command that takes `seconds` undisturbed; other work may share its processor."""
    return max(_HANG_SECONDS, 20 * seconds)


def seconds_of(words: list[str]) -> float:
    """Returns how long an undisturbed command takes. Raises RuntimeError if it fails."""
    started = time.monotonic()
    ended = command(words, hang_seconds=3600)
    if ended.code:
        raise RuntimeError(f"{' '.join(map(str, words))}: {ended.errors}")
    return time.monotonic() - started
