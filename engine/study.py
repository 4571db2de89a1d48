"""The search loop: propose, submit, record, resume. It owns the order of everything."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import final

import numpy as np

from engine.answers import Answers
from engine.backends import Backend
from engine.deadline import Deadline
from engine.errors import RecordError, StudyError
from engine.fold_race import fold_race_for
from engine.front import Front
from engine.garbage import few_full_collections
from engine.objective import Problem
from engine.racing import race_for
from engine.record import RunFolder
from engine.samplers import Sampler
from engine.space import Candidate
from engine.trial import Point, State, Trial
from engine.work import Build, Done

__all__ = ["REPEATS_TO_END", "Study", "seed_of"]

REPEATS_TO_END = 200  # proposals in a row without a new candidate: the space is exhausted
FAILURES_TO_STOP = 5  # first trials that all fail: nothing will work
CHECKED = frozenset((0, *(16**power for power in range(8))))  # recorded trials that are proposed anew, to compare
LOSSES_ALLOWED = 2  # times a trial whose worker died is run again


def seed_of(seed: int, candidate: Candidate) -> int:
    """Return the seed of a trial: a function of the study's seed and the canonical candidate, in [0, 2**31)."""
    text = f"{seed}:{candidate.key}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:4], "big") >> 1


@final
@dataclass
class Study:
    """One search.

    Trial n is proposed knowing exactly the trials 0 .. n - lag, whatever backend runs them and however fast; so the
    same seed and lag give the same trials. Resuming runs the same loop, with recorded trials in place of work. A
    sampler whose proposals are a function of its arguments is not asked for those again, but for a few of them: whether
    it still proposes what the record says.

    Args:
        problem: What is searched.
        sampler: Proposes.
        backend: Runs; started already.
        folder: Records.
        seed: Of everything random.
        lag: How far knowledge lags behind proposals, at least 1.
        recorded: Trials of an earlier run, by number.
        deadline: After which nothing is submitted but the first trial, and trials under way are cut short.
        is_racing: Whether trials that can no longer reach the front are stopped.
        watch: Told of every ended trial.
        is_pure: Whether the sampler's proposals are a function of their arguments, and not of earlier calls.
        answers: Where those of files are kept; None where nobody asks for them.
    """

    problem: Problem
    sampler: Sampler
    backend: Backend
    folder: RunFolder
    seed: int
    lag: int
    recorded: Mapping[int, Trial] = field(default_factory=dict)
    deadline: Deadline | None = None
    is_racing: bool = False
    watch: Callable[[Study, Trial], None] = lambda _study, _trial: None
    is_pure: bool = False
    answers: Answers | None = None
    trials: dict[int, Trial] = field(default_factory=dict)
    stopped: str = ""
    _proposed: list[Candidate] = field(default_factory=list)
    _first: dict[str, int] = field(default_factory=dict)
    _waiting: dict[int, list[int]] = field(default_factory=dict)
    _known: list[Trial] = field(default_factory=list)  # all from number 0 to the first that has not ended
    _paid: int = 0  # submitted or replayed
    _repeats: int = 0
    _losses: dict[int, int] = field(default_factory=dict)
    counts: Counter[State] = field(default_factory=Counter)
    last_error: str = ""
    front: Front = field(init=False)  # of all points that keep the limits
    _seen: tuple[int, Front] = field(init=False)  # how many trials a proposal was told of, and their front

    def __post_init__(self) -> None:
        self.front = Front((), self.problem.cost.name, self.problem.cost.floor)
        self._seen = 0, self.front

    def recorded_front(self) -> Front:
        """Return the front of what is known, trials of the record that were not replayed (yet) included."""
        rest = [trial for number, trial in self.recorded.items() if number not in self.trials]
        return self._with(self.front, [point for trial in rest for point in trial.points])

    def ended(self) -> list[Trial]:
        """Return all ended trials in order of number."""
        return [self.trials[number] for number in sorted(self.trials)]

    def known(self) -> list[Trial]:
        """Return all trials, those of the record that were not replayed (yet) included."""
        trials = {**self.recorded, **self.trials}
        return [trials[number] for number in sorted(trials)]

    def run(self) -> None:
        """Search until the budget, the time or the space is used up.

        Raises:
            StudyError: If the first trials all fail, or the record cannot be written.
            RecordError: If recorded trials are not the ones this search proposes.
        """
        with few_full_collections():
            while True:
                while self._may_propose():
                    self._propose()
                if len(self.trials) == len(self._proposed):
                    break
                self._collect()
        self._name_the_end()

    def _may_propose(self) -> bool:
        number = len(self._proposed)
        if number - self.lag >= len(self._known) or self._paid >= self.problem.budget or self.stopped:
            return False
        if self._repeats >= REPEATS_TO_END:
            self.stopped = (
                f"the last {REPEATS_TO_END} proposals held no new candidate within the limits: the space is exhausted"
            )
            return False
        is_over = self._paid and self.deadline is not None and self.deadline.is_over()
        if is_over and number not in self.recorded:
            self.stopped = "the time is up"
            return False
        return True

    def _propose(self) -> None:
        number = len(self._proposed)
        earlier = self.recorded.get(number)
        is_taken = earlier is not None and self.is_pure and number not in CHECKED
        candidate = earlier.candidate if earlier is not None and is_taken else self._asked(number)
        if earlier is not None and earlier.candidate != candidate:
            raise RecordError(
                f"{self.folder.trials_path}, trial {number} is not the one this search proposes: the record was made "
                "by another version, or edited. Start a new run in another folder."
            )
        self._proposed.append(candidate)
        twin = self._first.setdefault(candidate.key, number)
        if twin != number:
            self._repeats += 1
            self._await_twin(number, twin)
        elif earlier is not None and is_taken and not earlier.is_paid:
            self._repeats += 1
            self._end(earlier)
        elif not (is_taken or self.problem.allows(candidate)):
            self._repeats += 1
            self._end(Trial(number, candidate, State.OVERSIZED, error=self.problem.refusal(candidate)))
        elif earlier is not None:
            self._repeats, self._paid = 0, self._paid + 1
            self._end(earlier)
        else:
            self._repeats, self._paid = 0, self._paid + 1
            race = race_for(self.problem, candidate, self._told(number)) if self.is_racing else None
            fold_race = fold_race_for(self._told_front(number)) if self.is_racing else None
            deadline = self.deadline if self._paid > 1 else None  # the first one ends: a search shall find something
            self.backend.submit(Build(number, candidate, seed_of(self.seed, candidate), deadline, race, fold_race))

    def _told(self, number: int) -> list[Trial]:
        """Return what is known when a number is proposed."""
        return self._known[: max(0, number - self.lag + 1)]

    def _told_front(self, number: int) -> Front:
        """Return the front of what is known when a number is proposed."""
        told, (count, front) = self._told(number), self._seen
        self._seen = len(told), self._with(front, [point for trial in told[count:] for point in trial.points])
        return self._seen[1]

    def _asked(self, number: int) -> Candidate:
        """Return what the sampler proposes, in canonical form."""
        known = self._told(number)
        rng = np.random.default_rng([self.seed, number])
        proposal = self.sampler.propose(self.problem, known, self._proposed[len(known) :], rng)
        self.problem.space.check(proposal)
        return self.problem.canonical(proposal)

    def _await_twin(self, number: int, twin: int) -> None:
        if twin in self.trials:
            self._end(self._repeat(number, self.trials[twin]))
        else:
            self._waiting.setdefault(twin, []).append(number)

    def _repeat(self, number: int, twin: Trial) -> Trial:
        return Trial(
            number,
            twin.candidate,
            State.CACHED,
            twin.points,
            error=twin.error,
            twin=twin.number,
            estimate=twin.estimate,
        )

    def _collect(self) -> None:
        outcome = self.backend.wait()
        task, done = outcome.task, outcome.result
        if outcome.is_limit and task.deadline is not None and task.deadline.is_over():
            done = Done(is_cut=True)
        elif outcome.is_limit:
            done = Done(error=f"A limit ended the trial: {outcome.lost}.")
        elif outcome.lost:
            losses = self._losses[task.number] = self._losses.get(task.number, 0) + 1
            if losses <= LOSSES_ALLOWED:
                self.backend.submit(task)
                return
            done = Done(error=f"Its worker was lost {losses} times: {outcome.lost}.")
        state = State.FAILED if done.error else State.COMPLETE if done.estimate is None else State.RACED
        for point, artifact in zip(done.points, done.artifacts, strict=True):
            if self._with(self.front, [point]) is not self.front:
                self.folder.keep(artifact)
        if self.answers is not None:
            for point, told, artifact in zip(done.points, done.answers, done.artifacts, strict=True):
                self.answers.keep(point, told, artifact)
        trial = Trial(
            task.number,
            task.candidate,
            state,
            done.points,
            done.seconds,
            task.seed,
            done.error,
            curve=done.curve,
            estimate=done.estimate,
        )
        self._end(trial, is_whole=not done.is_cut)

    def _end(self, trial: Trial, *, is_whole: bool = True) -> None:
        if trial.number not in self.recorded and is_whole:  # one that the deadline cut short runs again
            self.folder.append(trial)
        if trial.number in self.recorded and self.answers is not None:
            for point in trial.points:
                self.answers.recall(point)
        self.trials[trial.number] = trial
        self.counts[trial.state] += 1
        if trial.state is State.FAILED:
            self.last_error = trial.error
        self.front = self._with(self.front, trial.points)
        for number in self._waiting.pop(trial.number, []):
            self._end(self._repeat(number, trial))
        while (known := self.trials.get(len(self._known))) is not None:
            self._known.append(known)
        self.watch(self, trial)
        self._stop_if_nothing_works()

    def _with(self, front: Front, points: Iterable[Point]) -> Front:
        cost = self.problem.cost
        return front.joined_by(point for point in points if cost.allows(point.values[cost.name]))

    def _stop_if_nothing_works(self) -> None:
        enough, failed = min(FAILURES_TO_STOP, self.problem.budget), self.counts[State.FAILED]
        if failed == enough and not self.counts[State.COMPLETE] and not self._is_replayed():
            raise StudyError(f"The first {enough} trials all failed. The last error: {self.last_error}")

    def _is_replayed(self) -> bool:
        """Say whether all that has ended comes from the record: what failed then may work now."""
        return all(number in self.recorded for number, trial in self.trials.items() if trial.is_paid)

    def _name_the_end(self) -> None:
        if not self.stopped and self._paid >= self.problem.budget:
            self.stopped = "the budget is used up"
