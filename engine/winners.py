"""Which members of a front are trained long, and how many of them while there is time."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import final

import numpy as np

from engine.artifact import Artifact
from engine.data import Rows
from engine.errors import SettingsError
from engine.front import Front
from engine.trial import Point, Trial

__all__ = [
    "FinishSettings",
    "Pace",
    "count_in_time",
    "patiences",
    "seconds_by_key",
    "seconds_to_teach",
    "seconds_to_test",
    "spread",
]

MAX_EFFORT = 1000
MAX_TEACHERS = 16
MAX_PATIENCE = 3.0  # of what computes a ninth or less: it takes a third of the time of the slowest, or less
TEACHING = 1.5  # of a winner's training: what teaches is wider, in full precision, and trained for fewer steps
MARGIN = 1.3  # of the time that tasks took so far
TIMED_ROWS = 128  # of the test rows, which tell how long all of them take
LATENCY_ROWS = 110  # that `engine.score.latency_us` runs one by one


@final
@dataclass(frozen=True)
class FinishSettings:
    """How the front is finished.

    Args:
        members: How many members of the front are trained long, spread over its sizes; of the others the trials' own
            files are shipped.
        effort: How many times longer than in a trial; smaller winners by the root of how much less they compute, up to
            three times as long as that.
        refit: Whether the shipped file is trained on validation rows too; by default when there are fewer than
            10,000 training rows.
        teachers: How many times the best member is trained long first, without a limit of its size and on training rows
            alone, to teach all winners together; with 0, and where the time is too short, its trial's own file teaches.
        means: Whether weighted means of several files join the front where they err less than single ones.
    """

    members: int = 16
    effort: float = 3.0
    refit: bool | None = None
    teachers: int = 0
    means: bool = True

    def __post_init__(self) -> None:
        problems = [f"finish.members must be at least 0, got {self.members}."] if self.members < 0 else []
        if not 0 <= self.teachers <= MAX_TEACHERS:
            problems.append(f"finish.teachers must be in [0, {MAX_TEACHERS}], got {self.teachers}.")
        if not 0 < self.effort <= MAX_EFFORT:
            problems.append(f"finish.effort must be in (0, {MAX_EFFORT}], got {self.effort}.")
        if problems:
            raise SettingsError("\n".join(problems))


def spread(front: Front, count: int) -> list[Point]:
    """Choose members spread over the sizes: both ends, and then where the gap in log size is widest.

    Args:
        front: To choose from.
        count: How many, at most.

    Returns:
        Members in the order of the front: the most accurate one first, and always among them.
    """
    if len(front) <= count:
        return list(front.points)
    chosen = [0, len(front) - 1][:count]
    sizes = [max(point.values[front.cost], 1e-9) for point in front]
    while len(chosen) < count:
        rest = [number for number in range(len(front)) if number not in chosen]
        far = {n: min(abs(_ratio(sizes[n], sizes[c])) for c in chosen) for n in rest}
        chosen.append(max(rest, key=lambda number: (far[number], -number)))
    return [front.points[number] for number in sorted(chosen)]


def _ratio(first: float, second: float) -> float:
    return max(first, second) / min(first, second)


def count_in_time(costs: Sequence[float], left: float, slots: int) -> int:
    """Return how many tasks, started in this order as slots get free, end before the time is over.

    Args:
        costs: Seconds of each task, rising.
        left: Seconds until the time is over.
        slots: Tasks at once.

    Example:
        >>> count_in_time([1.0, 2.0, 4.0], left=3.5, slots=2)
        2
    """
    ends = [0.0] * slots
    for count, cost in enumerate(costs):
        if ends[0] + cost >= left:
            return count
        ends = sorted([ends[0] + cost, *ends[1:]])
    return len(costs)


@final
@dataclass
class Pace:
    """How long winners train, in trainings of their trials: supposed first, then learned.

    Args:
        supposed: Until the first has ended.

    Example:
        >>> pace = Pace(6.0)
        >>> pace.learn(cost=2.0, seconds=1.0)
        >>> pace.expected(4.0) < 3.0
        True
    """

    supposed: float
    _learned: list[float] = field(default_factory=list)

    @property
    def is_learned(self) -> bool:
        """Whether one has ended."""
        return bool(self._learned)

    def learn(self, cost: float, seconds: float) -> None:
        """Note how long one took whose trial took `cost` seconds."""
        if cost > 0:
            self._learned.append(seconds / cost)

    def expected(self, cost: float) -> float:
        """Return the seconds to expect of one whose trial took `cost` seconds."""
        return cost * (MARGIN * median(self._learned) if self._learned else self.supposed)


def patiences(costs: Sequence[float | None]) -> list[float]:
    """Return how many times longer than the slowest one each winner trains: small ones take longer to learn.

    Args:
        costs: Multiply-accumulates of a row through each; None where the family does not tell.

    Example:
        >>> patiences([4_000_000, 1_000_000, 1_000])
        [1.0, 2.0, 3.0]
    """
    most = max((cost for cost in costs if cost), default=0.0)
    return [min(MAX_PATIENCE, math.sqrt(most / cost)) if cost else 1.0 for cost in costs]


def seconds_to_teach(cost: float, teachers: int, slots: int) -> float:
    """Return how long teachers are supposed to take until the last one has ended.

    Args:
        cost: Seconds of the best member's own long training.
        teachers: To train.
        slots: Trainings at once.

    Example:
        >>> seconds_to_teach(10.0, 2, 2) == seconds_to_teach(10.0, 1, 2) < seconds_to_teach(10.0, 2, 1)
        True
    """
    return TEACHING * cost * math.ceil(teachers / slots)


def seconds_by_key(trials: Sequence[Trial]) -> dict[str, float]:
    """Return how long the training of each candidate took, those of a ladder that one training gave included."""
    paid = [trial for trial in trials if trial.is_paid]
    found = {point.candidate.key: trial.seconds for trial in paid for point in trial.points}
    return found | {trial.candidate.key: trial.seconds for trial in paid}


def seconds_to_test(files: Sequence[Artifact], rows: Rows) -> float:
    """Return how long it will take to run files on test rows and to measure their latency, told by a few of the rows.

    Args:
        files: To run.
        rows: At least one.
    """
    few = rows.take(np.arange(min(TIMED_ROWS, len(rows)))).inputs()
    one = {name: column[:1] for name, column in few.items()}
    total = 0.0
    for file in files:
        moments = [time.monotonic()]
        for inputs in (one, few, one):  # the first opens the file
            file.outputs(inputs)
            moments.append(time.monotonic())
        opening, many, alone = np.diff(moments)
        total += opening + many * len(rows) / min(TIMED_ROWS, len(rows)) + LATENCY_ROWS * alone
    return float(total)
