"""Damages files, kills commands and fills disks again and again, on a tiny model, and counts the outcomes.

python tools/fault_campaign.py --minutes=60 --seed=0 --output=results/faults.json

The outcome of a try is "right" if the result equals that of an undisturbed run, "refused" if a command or reader ends
with one line, "hung" if it does not end, and "wrong" for anything else. Needs no data; prints a table.
"""

import hashlib
import pathlib
import random
import shutil
import signal
import tempfile
import time

import _installed  # noqa: F401
from absl import flags

from pixelvae_tf import files
from pixelvae_tf.commandline import program
from pixelvae_tf.runs.environment import environment

_KINDS = ["mutations", "kills", "preparations", "signals", "disks"]
MINUTES = flags.DEFINE_float("minutes", 5.0, "Start no more tries after this many minutes.", 0.1)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the faults and their moments.", 0)
KINDS = flags.DEFINE_multi_enum("kind", _KINDS, _KINDS, "Kind of faults; may be given repeatedly.")
OUTPUT = flags.DEFINE_string("output", "", "JSON file to write with the table and notes on what went wrong.")

# Enough to occupy worker processes.
_PICTURES = 200
_RECORD_SECONDS = 60.0
_RECIPE = [
    f"--flagfile={pathlib.Path(__file__).parent / 'faults' / 'tiny.cfg'}",
    "--deterministic",
    "--steps=40",
    "--validation_every=10",
    "--checkpoint_every=5",
]


def _train(workdir) -> list:
    return ["pixelvae_tf.train", *_RECIPE, f"--workdir={workdir}"]


class Campaign:
    """Tries of every kind against one finished training.

    Args:
        folder: the folder to work in.
        seed: seed of the faults and their moments.
    """

    def __init__(self, folder: pathlib.Path, seed: int):
        from faults import mutations, tries

        self.tries, self.mutations = tries, mutations
        self.folder, self.random, self.tally, self.tried = folder, random.Random(seed), tries.Tally(), 0
        self.base = folder / "base"
        self.seconds = tries.seconds_of(_train(self.base))
        self.source = folder / "source"
        self.subjects = mutations.make(self.source, self.base)
        self.expected = self._state(self.base)
        self.archive = folder / "train_64x64.tar"
        mutations.write_pictures(self.archive, _PICTURES)
        self.preparing = tries.seconds_of(self._prepare(folder / "prepared"))
        self.prepared = _contents(folder / "prepared")

    def one(self, kind: str) -> None:
        """Makes one try of a kind, one of `_KINDS`."""
        self.tried += 1
        place = self.folder / f"try{self.tried}"
        if kind == "mutations":
            self.mutations.one(self.random.choice(self.subjects), self.source, place, self.random, self.tally)
            return
        place.mkdir()
        try:
            {
                "kills": self._kill,
                "preparations": self._end_preparation,
                "signals": self._storm,
                "disks": self._disk,
            }[kind](place)
        finally:
            shutil.rmtree(place)

    def _kill(self, place: pathlib.Path) -> None:
        """Kills a training once or twice and restarts it, then lets it finish."""
        workdir, moments = place / "run", []
        try:
            for _ in range(self.random.choice((1, 2))):
                moments.append(round(self.random.uniform(0, self.seconds), 2))
                self._command(_train(workdir), kill_after=moments[-1])
            ended = self._command(_train(workdir))
        except self.tries.Hung:
            self.tally.add("kill of a training", "hung", str(moments), self.tries.left_in(place))
            return
        same = ended.code == 0 and self._state(workdir) == self.expected
        self.tally.add(
            "kill of a training", "right" if same else "wrong", f"{moments}: {ended.errors}", self.tries.left_in(place)
        )

    def _end_preparation(self, place: pathlib.Path) -> None:
        """Ends a preparation by a signal and starts it again: its workers end with it, and the data are the same."""
        number = self.random.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
        kind, words = f"{signal.Signals(number).name} to a preparation", self._prepare(place / "prepared")
        moment = round(self.random.uniform(0, self.preparing), 2)
        try:
            struck = self._command(words, signals=[(moment, number)], mark=place.name)
            left = self.tries.marked(place.name)
            ended = self._command(words)
        except self.tries.Hung:
            self.tally.add(kind, "hung", str(moment), self.tries.left_in(place))
            return
        # If the signal came after the last file was there, the second one refuses to prepare the data twice.
        whole = ended.code == 0 or (ended.in_one_line and "already" in ended.errors)
        same = whole and _contents(place / "prepared") == self.prepared
        outcome, left = "right" if same and _quiet(struck) else "wrong", left + self.tries.left_in(place)
        note = f"{moment}: {struck.code} {struck.errors[-300:]}; begun again: {ended.code} {ended.errors[-300:]}"
        self.tally.add(kind, outcome, note, left)

    def _storm(self, place: pathlib.Path) -> None:
        """Sends Ctrl-C and SIGTERM to a training, together or one after the other, and starts it again."""
        kind, workdir = "storm of signals to a training", place / "run"
        numbers = [self.random.choice((signal.SIGINT, signal.SIGTERM)) for _ in range(self.random.randint(1, 4))]
        moments = [self.random.uniform(0, self.seconds)] + [self.random.choice((0, 0, 0.1, 1.5)) for _ in numbers[1:]]
        storm = [(round(moment, 2), number) for moment, number in zip(moments, numbers, strict=True)]
        try:
            struck = self._command(_train(workdir), signals=storm)
            ended = self._command(_train(workdir))
        except self.tries.Hung:
            self.tally.add(kind, "hung", str(storm), self.tries.left_in(place))
            return
        same = ended.code == 0 and self._state(workdir) == self.expected
        note = f"{storm}: {struck.code} {struck.errors[-300:]}; begun again: {ended.code} {ended.errors[-300:]}"
        self.tally.add(kind, "right" if same and _quiet(struck) else "wrong", note, self.tries.left_in(place))

    def _command(self, words: list, **how):
        longest = self.tries.hang_seconds_of(max(self.seconds, self.preparing))
        return self.tries.command(words, hang_seconds=longest, **how)

    def _prepare(self, output: pathlib.Path) -> list:
        return [f"{self.tries.ROOT}/tools/prepare_imagenet.py", f"--input={self.archive}", f"--output={output}"]

    def _disk(self, place: pathlib.Path) -> None:
        """Limits the file size of a command. It must succeed or fail with one line, and leave existing files alone."""
        name = self.random.choice(("train", "sample", "evaluate", "export", "pack"))
        workdir, bytes_ = place / "run", int(10 ** self.random.uniform(0, 6))
        if name != "train":
            shutil.copytree(self.base, workdir)
        words = {
            "train": _train(workdir),
            "sample": ["pixelvae_tf.sample", f"--workdir={workdir}", f"--output={place}/a.png", "--num_samples=4"],
            "evaluate": ["pixelvae_tf.evaluate", f"--workdir={workdir}", "--max_examples=20"],
            "export": ["pixelvae_tf.export", f"--workdir={workdir}", f"--output={place}/export"],
            "pack": [f"{self.tries.ROOT}/tools/training_state.py", "pack", f"--workdir={workdir}"]
            + [f"--file={place}/state.zip"],
        }[name]
        kind, note = f"full disk under {name}", f"files of {bytes_:,} bytes"
        try:
            ended = self._command(words, largest_file=bytes_)
            # The next start removes leftovers of TensorFlow's failed save.
            again = self._command(words) if name == "train" and ended.code else None
        except self.tries.Hung:
            self.tally.add(kind, "hung", note, self.tries.left_in(place))
            return
        outcome = "right" if ended.code == 0 else "refused" if ended.in_one_line else "wrong"
        if name != "train" and self._state(workdir) != self.expected:
            outcome, note = "wrong", f"{note}, the run is changed"
        note = f"{note}: {ended.code} {ended.errors[-300:]}"
        if again is not None and (again.code or self._state(workdir) != self.expected):
            outcome, note = "wrong", f"{note}; begun again: {again.code} {again.errors[-300:]}"
        self.tally.add(kind, outcome, note, self.tries.left_in(place))

    def _state(self, workdir: pathlib.Path) -> dict:
        """Returns the history and the best bound of a run, which are equal for equal runs."""
        from pixelvae_tf.runs.workdir import Run

        run = Run(workdir)
        try:
            best = run.best_weights()[1]
            return {"history": run.history(), "best": best["nll_bound_nats"], "summary": run.summary_file.exists()}
        except files.FileError as error:
            return {"error": str(error)}


def _quiet(struck) -> bool:
    """Whether a command that got signals ended without a traceback of its own."""
    # SIGTERM ends a command at once and silently if it has nothing to save.
    silent = struck.code in (0, -signal.SIGTERM, -signal.SIGINT, -signal.SIGKILL)
    return silent or struck.in_one_line or struck.before_its_start


def _contents(folder: pathlib.Path) -> dict:
    """Returns the checksum of every file, by its path in a folder of prepared data."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def table(rows: list[dict]) -> str:
    """Formats the outcomes as Markdown."""
    names = list(rows[0])
    lines = [names, ["---"] + ["---:"] * (len(names) - 1), *([str(row[name]) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    output = files.check_output(OUTPUT.value, "output") if OUTPUT.value else None
    program.start_tensorflow()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pixelvae_tf-") as folder:
        campaign = Campaign(pathlib.Path(folder), SEED.value)
        kinds = sorted(set(KINDS.value))
        spent = dict.fromkeys(kinds, 0.0)
        recorded = started
        while time.monotonic() - started < 60 * MINUTES.value:
            # All kinds get the same share of the time, however long their tries take.
            kind, began = min(spent, key=spent.get), time.monotonic()
            campaign.one(kind)
            spent[kind] += time.monotonic() - began
            # An hour of work is not lost to an error in its last minute.
            if time.monotonic() - recorded > _RECORD_SECONDS:
                recorded = time.monotonic()
                _record(output, campaign, started)
    _record(output, campaign, started)
    print(table(campaign.tally.rows()))
    print("\n".join(campaign.tally.notes))


def _record(output: pathlib.Path | None, campaign: Campaign, started: float) -> None:
    if output:
        minutes, tally = round((time.monotonic() - started) / 60, 1), campaign.tally
        record = {"minutes": minutes, "seed": SEED.value, "table": tally.rows(), "notes": tally.notes}
        files.write_json(output, {**record, **environment()})


if __name__ == "__main__":
    program.run(main, __doc__)
