"""What the finisher of a search will take: told as progress, and kept back where the time is limited."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import mul
from typing import final

from engine.deadline import Deadline
from engine.front import Front
from engine.space import Candidate
from engine.study import Study
from engine.trial import Trial
from engine.winners import patiences, seconds_to_teach

__all__ = ["FINISH_SHARE", "Reserve"]

FINISH_SHARE = 0.3  # of all time: kept back at first, and at most
LEAST_SHARE = 0.15
SAFETY = 1.5  # trainings on all rows of a busy machine
MEAN_MEMBERS = 4  # not on the front, of all means together; supposed to be like those that take longest
EACH_SECONDS = 0.5  # of one core, for what is measured on each file


@final
@dataclass
class Reserve:
    """Expects what the front so far takes to be trained once more, and moves the deadline of the study as it grows.

    Args:
        start: Of the search, on the clock of `time.monotonic()`.
        seconds: For everything; None: no deadline is set.
        slots: Trainings at once.
        folds: That a trial trains on.
        trainings: On one fold, that a member costs the finisher.
        members: Of the front that are trained again, at most.
        teachers: That are trained before.
        macs: Multiply-accumulates of a row through the file of a candidate, by which small ones train for longer; None
            where the family does not tell.
        makes_means: Whether means of what was tried are finished, too.
        expected_seconds: That the finisher takes for the front so far, that of teachers included.
    """

    start: float
    seconds: float | None
    slots: int
    folds: int
    trainings: float
    members: int
    teachers: int = 0
    macs: Callable[[Candidate], int | None] = lambda _candidate: None
    makes_means: bool = False
    expected_seconds: float = 0.0
    _spent: dict[str, float] = field(default_factory=dict)  # seconds of one fold, by the key of a file's candidate
    _front: Front | None = None

    def told(self, study: Study, trial: Trial) -> None:
        """Move the deadline of a study of which a trial has ended."""
        for point in trial.points:
            key = point.candidate.key
            self._spent[key] = max(trial.seconds / self.folds, self._spent.get(key, 0.0))  # a repeated trial took none
        if study.front is self._front:
            return
        self._front = study.front
        candidates = [point.candidate for point in study.front]
        candidates.sort(key=lambda one: self._spent.get(one.key, 0.0), reverse=True)
        longest_first = candidates[: self.members]
        costs = [self._spent.get(candidate.key, 0.0) for candidate in longest_first]
        longest = max(costs, default=0.0)
        teaching = seconds_to_teach(longest, self.teachers, self.slots) or longest  # the last of winners ends alone
        training = sum(map(mul, costs, patiences(list(map(self.macs, longest_first))))) / self.slots + teaching
        if self.makes_means:
            training += sum(costs[:MEAN_MEMBERS]) / self.slots
        self.expected_seconds = self.trainings * training + EACH_SECONDS * len(study.front)
        if self.seconds is not None:
            kept = min(FINISH_SHARE, max(LEAST_SHARE, SAFETY * self.expected_seconds / self.seconds))
            study.deadline = Deadline(self.start + (1 - kept) * self.seconds)
