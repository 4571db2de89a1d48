"""The time that a search keeps back for its finisher: what the front so far takes to be trained once more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from engine.deadline import Deadline
from engine.front import Front
from engine.study import Study
from engine.trial import Trial

__all__ = ["FINISH_SHARE", "Reserve"]

FINISH_SHARE = 0.3  # of all time: kept back at first, and at most
LEAST_SHARE = 0.15
SAFETY = 1.5  # trainings on all rows of a busy machine
EACH_SECONDS = 0.5  # of one core, for what is measured on each file


@final
@dataclass
class Reserve:
    """Moves the deadline of a study as its front grows: a quick finisher leaves more time to search.

    Args:
        start: Of the search, on the clock of `time.monotonic()`.
        seconds: For everything.
        slots: Trainings at once.
        folds: That a trial trains on.
        trainings: On one fold, that a member costs the finisher.
        members: Of the front that are trained again, at most.
    """

    start: float
    seconds: float
    slots: int
    folds: int
    trainings: float
    members: int
    _spent: dict[str, float] = field(default_factory=dict)  # seconds of one fold, by the key of a file's candidate
    _front: Front | None = None

    def told(self, study: Study, trial: Trial) -> None:
        """Move the deadline of a study of which a trial has ended."""
        for point in trial.points:
            key = point.candidate.key
            self._spent[key] = max(trial.seconds / self.folds, self._spent.get(key, 0.0))  # a repeated trial took none
        if study.front is not self._front:
            self._front = study.front
            study.deadline = self.deadline(study.front)

    def deadline(self, front: Front) -> Deadline:
        """Return when a search with this front has to end."""
        costs = sorted((self._spent.get(point.candidate.key, 0.0) for point in front), reverse=True)[: self.members]
        training = self.trainings * (sum(costs) / self.slots + max(costs, default=0.0))
        expected = SAFETY * (training + EACH_SECONDS * len(front))
        kept = min(FINISH_SHARE, max(LEAST_SHARE, expected / self.seconds))
        return Deadline(self.start + (1 - kept) * self.seconds)
