"""Slots on Ray, and searches whose workers are killed.

    python -m experiments.bench_scale seconds=2 trials=24 kills=20 backends=[processes,ray]

The first table: the same trials on one slot and on two of a Ray on this machine, and what the engine adds to a trial
once the slots are up. The second: a random worker is killed after every tenth recorded trial, and the record and the
files are compared with those of an undisturbed search.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np
from rich.console import Console
from rich.table import Table

from engine.backends import Backend
from engine.backends.registry import backend_for
from engine.backends.settings import BackendSettings
from engine.data import Dataset, Rows, Signature, Split
from engine.objective import Objective, Problem
from engine.record import RunFolder
from engine.samplers.random import RandomSampler
from engine.study import Study
from engine.trial import Trial
from engine.work import Build, Work
from experiments.launch import launch
from experiments.napping import Napping

__all__ = ["Chaos", "chaos"]

TRIALS_A_KILL = 10
LAG = 4


@final
@dataclass(frozen=True)
class Settings:
    """What this benchmark understands."""

    seconds: float = 2.0
    trials: int = 24
    trivial: int = 200
    kills: int = 20
    seed: int = 0
    backends: list[str] = field(default_factory=lambda: ["processes", "ray"])
    address: str | None = None


@final
@dataclass(frozen=True)
class Chaos:
    """What came of a search whose workers were killed.

    Args:
        kills: Processes that were killed.
        recorded: Trials on record.
        repeated: Trials on record more than once.
        failed: Trials that failed.
        record: Candidate, points and state of each trial, by number.
        files: Of the front, by their digest.
    """

    kills: int
    recorded: int
    repeated: int
    failed: int
    record: Mapping[int, str]
    files: Mapping[str, bytes]


def chaos(backend: Backend, place: Path, *, trials: int, kills: int, seed: int, slots_too: bool = False) -> Chaos:
    """Search, and kill a random worker after every tenth recorded trial.

    Args:
        backend: Fresh.
        place: Empty folder.
        trials: To record.
        kills: How often, at most.
        seed: Of the search and of the choice of victims.
        slots_too: Whether the process that started a worker may be the victim too: a slot of Ray.
    """
    marks = place / "marks"
    marks.mkdir(parents=True)
    draws, killed = random.Random(seed), 0

    def kill(_study: Study, _trial: Trial) -> None:
        nonlocal killed
        done = len((place / "run" / "trials.jsonl").read_bytes().splitlines())
        if done % TRIALS_A_KILL == 0 and killed < kills:
            killed += _kill_one(marks, draws, slots_too=slots_too)

    watch = kill if kills else _nothing
    study, _ = _searched(backend, Napping(marks=str(marks)), place, trials=trials, seed=seed, watch=watch)
    lines = [json.loads(line) for line in (place / "run" / "trials.jsonl").read_text().splitlines()]
    counts = Counter(line["number"] for line in lines)
    return Chaos(
        killed,
        len(lines),
        sum(count - 1 for count in counts.values()),
        sum(trial.state.value == "failed" for trial in study.ended()),
        {trial.number: repr((trial.candidate, trial.points, trial.state)) for trial in study.ended()},
        {point.sha256: (place / "run" / "files" / f"{point.sha256}.onnx").read_bytes() for point in study.front},
    )


def _kill_one(marks: Path, draws: random.Random, *, slots_too: bool) -> int:
    """Kill one of the processes that left a mark and are alive; return how many that were."""
    found = [tuple(map(int, path.name.split("-"))) for path in sorted(marks.iterdir())]
    draws.shuffle(found)
    for worker, slot in found:
        (marks / f"{worker}-{slot}").unlink()
        with suppress(ProcessLookupError):
            os.kill(slot if slots_too and draws.random() < 0.5 else worker, signal.SIGKILL)
            return 1
    return 0


def _nothing(_study: Study, _trial: Trial) -> None:
    """Watch without doing anything."""


def _searched(
    backend: Backend, family: Napping, place: Path, *, trials: int, seed: int, watch: Callable[[Study, Trial], None]
) -> tuple[Study, float]:
    """Return a study on warm slots, and the seconds that it took; the backend is started and closed."""
    signature = Signature("table", "classification", (4,), "float32", ("0", "1"))
    x = np.random.default_rng(0).normal(size=(400, 4)).astype(np.float32)
    rows = Rows((x.sum(axis=1) > 0).astype(np.int64), x)
    data = Dataset(signature, rows, (Split(np.arange(100), np.arange(100, 400)),)).save(place / "data")
    objectives = Objective("error"), Objective("bytes")
    problem = Problem(family.space, *objectives, family.canonical, family.bytes, trials)
    folder = RunFolder(place / "run")
    _, recorded = folder.open({"lag": LAG})
    backend.start(Work(family, data.folder or place, "accuracy"))
    try:
        _warm(backend, family)
        study = Study(problem, RandomSampler(), backend, folder, seed, LAG, recorded, watch=watch)
        start = time.perf_counter()
        study.run()
        return study, time.perf_counter() - start
    finally:
        backend.close()


def _warm(backend: Backend, family: Napping) -> None:
    """Run trials until every slot has left its mark."""
    rng = np.random.default_rng(0)
    while len(list(Path(family.marks).iterdir())) < backend.slots:
        for number in range(2 * backend.slots):
            backend.submit(Build(-1 - number, family.space.sample(rng), 0))
        for _ in range(2 * backend.slots):
            backend.wait()


def slots_table(settings: Settings, place: Path) -> Table:
    """Return wall times on one slot and on two, and what the engine adds to each trial."""
    table = Table("trials", "slots", "wall s", "inside s / slots", "added ms a trial", "times one slot")
    for seconds, trials in ((settings.seconds, settings.trials), (0.0, settings.trivial)):
        alone = 0.0
        for slots in (1, 2):
            marks = place / f"marks-{seconds}-{slots}"
            marks.mkdir(parents=True)
            backend = backend_for(BackendSettings(name="ray", address=settings.address), workers=slots)
            study, wall = _searched(
                backend, Napping(seconds, str(marks)), place / f"{seconds}-{slots}", trials=trials, seed=settings.seed,
                watch=_nothing,
            )  # fmt: skip
            inside = sum(trial.seconds for trial in study.ended()) / slots
            alone = alone or wall
            table.add_row(f"{trials} of {seconds:g} s", str(slots), f"{wall:.2f}", f"{inside:.2f}",
                          f"{1000 * (wall - inside) / trials:.1f}", f"{alone / wall:.2f}")  # fmt: skip
    return table


def chaos_table(settings: Settings, place: Path) -> tuple[Table, bool]:
    """Return what came of the killed searches, and whether all is whole and equal."""
    table = Table("backend", "kills", "trials", "recorded", "twice", "failed", "trials equal", "files equal")
    trials, is_whole = TRIALS_A_KILL * settings.kills, True
    calm = chaos(_backend("processes", settings), place / "calm", trials=trials, kills=0, seed=settings.seed)
    for name in settings.backends:
        found = chaos(
            _backend(name, settings), place / name, trials=trials, kills=settings.kills, seed=settings.seed,
            slots_too=name == "ray",
        )  # fmt: skip
        are_equal = found.record == calm.record, found.files == calm.files
        is_whole &= all(are_equal) and found.recorded == trials and not found.repeated
        told = ("yes" if is_equal else "NO" for is_equal in are_equal)
        table.add_row(name, *map(str, (found.kills, trials, found.recorded, found.repeated, found.failed)), *told)
    return table, is_whole


def run(settings: Settings) -> int:
    """Print both tables; return 0 if the killed searches are whole and equal."""
    with tempfile.TemporaryDirectory() as place:
        Console().print(slots_table(settings, Path(place) / "slots"))
        table, is_whole = chaos_table(settings, Path(place) / "chaos")
        Console().print(table)
    return 0 if is_whole else 1


def _backend(name: str, settings: Settings) -> Backend:
    address = settings.address if name == "ray" else None
    return backend_for(BackendSettings(name=name, address=address), workers=2)


if __name__ == "__main__":
    sys.exit(launch(Settings, run, __doc__))
