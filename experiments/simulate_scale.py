"""What saturates first on the way to a thousand workers: a simulation of events over measured costs.

    python -m experiments.simulate_scale workers=1000 seconds=60 spread=0.5

The costs of the driver and of its samplers are measured on this machine; no trial is run, only its duration drawn.
The simulation keeps the rules of `engine/study.py`: one driver that does one thing after the other, trial n proposed
when the trials 0 .. n - lag have ended, tasks given out oldest first through a store that serves one at a time.
"""

from __future__ import annotations

import heapq
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np
from rich.console import Console
from rich.table import Table

from engine.errors import SettingsError
from experiments.driver_costs import front_of, past_of, proposal_seconds, trial_seconds
from experiments.launch import launch

__all__ = ["Load", "main", "simulate"]

MOST_WORKERS = 16_384


@final
@dataclass(frozen=True)
class Settings:
    """What this benchmark understands.

    Args:
        workers: At once.
        seconds: Of a trial, on average.
        spread: Of its duration, as a share of it, either way.
        trials: A worker makes, so many that the start counts little.
        past: Trials known when proposals are timed.
        front: Members of the front while trials are taken in.
        store_ms: Time of the queue between driver and workers for one trial: Ray's, by default.
        samplers: To compare.
        reach: Utilisation to keep.
    """

    workers: int = 1000
    seconds: float = 60.0
    spread: float = 0.5
    trials: int = 20
    past: int = 1000
    front: int = 1000
    store_ms: float = 4.0
    samplers: list[str] = field(default_factory=lambda: ["pareto", "random"])
    reach: float = 0.95

    def __post_init__(self) -> None:
        if self.workers < 1 or self.trials < 4 or self.past < 100 or not 0 <= self.spread < 1:
            raise SettingsError("workers >= 1, trials >= 4, past >= 100 and 0 <= spread < 1 must hold.")


@final
@dataclass(frozen=True)
class Load:
    """What a cluster is given to do.

    Args:
        workers: At once.
        lag: How far knowledge lags behind proposals.
        durations: Of the trials, in seconds, in order of number.
        propose: Seconds of the driver for a proposal and sending it.
        take_in: Seconds of the driver for a result.
        store: Seconds of the queue for a task.
    """

    workers: int
    lag: int
    durations: Sequence[float]
    propose: float
    take_in: float
    store: float


def simulate(load: Load) -> float:
    """Return the share of the workers' time that is spent in trials, from the first proposal to the last.

    Example:
        >>> simulate(Load(workers=2, lag=4, durations=[1.0] * 100, propose=0.0, take_in=0.0, store=0.0))
        1.0
        >>> round(simulate(Load(workers=10, lag=20, durations=[1.0] * 200, propose=0.2, take_in=0.0, store=0.0)), 2)
        0.49
    """
    now = store_free = 0.0
    known = proposed = 0
    has_ended = [False] * len(load.durations)
    idle = [0.0] * load.workers  # since when
    queue: deque[tuple[float, int]] = deque()  # since when it can be taken, and the number
    running: list[tuple[float, float, int]] = []  # end, start, number
    ended: deque[int] = deque()
    spans: list[tuple[float, float]] = []

    def give_out() -> None:
        while queue and idle:
            (ready, number), free = queue.popleft(), heapq.heappop(idle)
            start = max(ready, free)
            spans.append((start, start + load.durations[number]))
            heapq.heappush(running, (start + load.durations[number], start, number))

    def pass_until(moment: float) -> None:
        while running and running[0][0] <= moment:
            end, _, number = heapq.heappop(running)
            ended.append(number)
            heapq.heappush(idle, end)
            give_out()

    while proposed < len(load.durations):
        pass_until(now)
        if proposed - load.lag < known:
            now += load.propose
            pass_until(now)
            store_free = max(now, store_free) + load.store
            queue.append((store_free, proposed))
            proposed += 1
            give_out()
            continue
        if not ended:
            now = max(now, running[0][0])
            pass_until(now)
        has_ended[ended.popleft()] = True
        now += load.take_in
        while known < proposed and has_ended[known]:
            known += 1
    busy = sum(max(0.0, min(end, now) - start) for start, end in spans)
    return busy / (load.workers * now) if now else 1.0


def load_of(settings: Settings, workers: int, propose: float, take_in: float) -> Load:
    """Return the trials of a study on so many workers."""
    low, high = settings.seconds * (1 - settings.spread), settings.seconds * (1 + settings.spread)
    durations = np.random.default_rng(0).uniform(low, high, settings.trials * workers).tolist()
    return Load(workers, 2 * workers, durations, propose, take_in, settings.store_ms / 1000)


def limit_of(settings: Settings, utilisation: Callable[[int], float]) -> int:
    """Return the largest number of workers that are kept as busy as wanted."""
    low, high = 1, 2
    while high <= MOST_WORKERS and utilisation(high) >= settings.reach:
        low, high = high, 2 * high
    while high - low > max(1, low // 50):
        middle = (low + high) // 2
        low, high = (middle, high) if utilisation(middle) >= settings.reach else (low, middle)
    return low


def run(settings: Settings) -> int:
    """Print the tables."""
    past = past_of(settings.past)
    with tempfile.TemporaryDirectory() as place:
        costs = trial_seconds(past, front_of(settings.front), Path(place))
    grid = sorted({4, 64, 256, 2 * settings.workers})
    proposals = {name: [proposal_seconds(past, name, n) for n in grid] for name in settings.samplers}

    def utilisation(name: str, workers: int) -> float:
        propose = float(np.interp(2 * workers, grid, proposals[name]))
        return simulate(load_of(settings, workers, propose + costs.send, costs.all - costs.send))

    parts = Table("what the driver does for a trial", "ms", "alone enough for workers")
    named = {f"propose: {name}": times[-1] for name, times in proposals.items()}
    named |= {"send the task": costs.send, "take in the result": costs.receive, "record": costs.record}
    named |= {f"front of {settings.front:,}, its hypervolume": costs.front, "progress": costs.show}
    for what, seconds in {**named, "queue between driver and workers": settings.store_ms / 1000}.items():
        parts.add_row(what, f"{1000 * seconds:.2f}", f"{settings.reach * settings.seconds / max(seconds, 1e-9):,.0f}")
    wanted = sorted({max(1, settings.workers // 100), max(1, settings.workers // 10), settings.workers})
    table = Table("sampler", *(f"{n:,} workers" for n in wanted), f"workers kept {100 * settings.reach:.0f} % busy")
    for name in settings.samplers:
        limit = limit_of(settings, lambda workers, name=name: utilisation(name, workers))  # type: ignore[misc]
        shown = f"{limit:,}" if limit < MOST_WORKERS else f"more than {MOST_WORKERS:,}"
        table.add_row(name, *(f"{100 * utilisation(name, n):.1f} %" for n in wanted), shown)
    console = Console()
    console.print(f"Trials of {settings.seconds:g} s, +-{100 * settings.spread:.0f} %, {settings.past:,} trials known.")
    console.print(parts, table)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return launch(Settings, run, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
