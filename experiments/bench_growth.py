"""A study of ten thousand trials: what it adds to a trial at its beginning and its end, resuming it, and its memory.

    python -m experiments.bench_growth trials=10000 sampler=random

Trials are not run: errors are made up, so that all that takes time is the search itself. Times are of one core.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from rich.console import Console
from rich.table import Table

from engine.artifact import Artifact
from engine.backends import Outcome
from engine.objective import Problem
from engine.record import RunFolder
from engine.samplers.registry import is_pure, sampler_named
from engine.study import Study
from engine.trial import Point
from engine.work import Done
from experiments.driver_costs import made_up_error, past_of
from experiments.launch import launch

__all__ = ["main"]

LAG = 4
MEGABYTE = 2**20 if sys.platform == "darwin" else 2**10  # of what the system counts memory in


@final
@dataclass(frozen=True)
class Settings:
    """What this benchmark understands."""

    trials: int = 10_000
    sampler: str = "random"


@final
class Instant:
    """A backend that ends each trial at once, with a made-up error."""

    def __init__(self, problem: Problem) -> None:
        self._problem, self._queue = problem, deque[Any]()
        self.slots = 1

    def start(self, work: Callable[[Any], Any]) -> None:
        """There is nothing to bring up."""

    def submit(self, task: Any) -> None:
        """Queue a task."""
        self._queue.append(task)

    def wait(self) -> Outcome:
        """Return the oldest task, as if it had been done."""
        task = self._queue.popleft()
        artifact = Artifact(task.candidate.key.encode())
        size = float(self._problem.exact_cost(task.candidate) or 0)
        point = Point(task.candidate, {"error": made_up_error(size, task.seed), "bytes": size}, artifact.sha256)
        return Outcome(task, Done((point,), (artifact,), 60.0))

    def close(self) -> None:
        """There is nothing to end."""


def run(settings: Settings) -> int:
    """Print the table."""
    problem = replace(past_of(100).problem, budget=settings.trials)
    clock: list[float] = []
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder(Path(place) / "run")
        _study(problem, settings.sampler, folder, lambda *_: clock.append(time.process_time())).run()
        start = time.process_time()
        again = _study(replace(problem, budget=settings.trials + 1), settings.sampler, folder, lambda *_: None)
        again.run()
        seconds = time.process_time() - start
    tenth = len(clock) // 10
    early, late = (1000 * (part[-1] - part[0]) / (len(part) - 1) for part in (clock[tenth : 2 * tenth], clock[-tenth:]))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE
    table = Table(f"{settings.trials:,} trials, sampler={settings.sampler}", "figure")
    table.add_row("front", f"{len(again.front):,} points")
    table.add_row("driver a trial, second tenth of them", f"{early:.2f} ms")
    table.add_row("driver a trial, last tenth", f"{late:.2f} ms")
    table.add_row("resuming, up to and with the next trial", f"{seconds:.2f} s")
    table.add_row("memory at most, both studies and all libraries", f"{memory:.0f} MB")
    Console().print(table)
    return 0


def _study(problem: Problem, sampler: str, folder: RunFolder, watch: Callable[..., None]) -> Study:
    _, recorded = folder.open({"lag": LAG})
    backend = Instant(problem)
    return Study(
        problem,
        sampler_named(sampler, seed=0),
        backend,
        folder,
        0,
        LAG,
        recorded,
        watch=watch,
        is_pure=is_pure(sampler),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return launch(Settings, run, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
