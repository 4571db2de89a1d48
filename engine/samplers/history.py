"""What a sampler has learned: files, failures, and what is known of a candidate without training."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from engine.objective import Problem
from engine.samplers.encoding import Encoding
from engine.samplers.gain import staircase
from engine.space import Candidate
from engine.trial import State, Trial

__all__ = ["History", "Model", "Rows", "log_cost"]

MAX_DRAWN = 8192  # candidates looked at lately; neighbours of the front come again and again


@final
@dataclass(frozen=True, eq=False)
class Model:
    """What is known of a candidate without training; worked out when it is asked for, which may take time.

    Args:
        problem: That it is a candidate of.
        canonical: Its canonical form.
        encode: Of the problem.
    """

    problem: Problem
    canonical: Candidate
    encode: Encoding

    @cached_property
    def features(self) -> np.ndarray:
        """As `encode` gives them."""
        return self.encode(self.canonical)

    @cached_property
    def log_cost(self) -> float:
        """The exact one, or the floor where that is less; NaN where it is unknown."""
        cost = self.problem.exact_cost(self.canonical)
        return math.nan if cost is None else log_cost(max(cost, self.problem.cost.floor))

    @cached_property
    def is_allowed(self) -> bool:
        """Whether it keeps the limits, as far as can be told."""
        return self.keeps_other_limits and self.problem.allows(self.canonical)

    @cached_property
    def keeps_other_limits(self) -> bool:
        """Whether it keeps those that are not of the cost, as far as can be told."""
        for objective, exact in self.problem.limits:
            value = None if objective.limit is None else exact(self.canonical)
            if value is not None and not objective.allows(value):
                return False
        return True


@final
@dataclass(frozen=True)
class Rows:
    """Files and failures in order of number, one array entry each.

    Args:
        candidates: That built them.
        numbers: Of the trials.
        errors: Infinite for a failure.
        costs: Log of what was measured, or of the floor where that is less; NaN for a failure.
        are_points: Whether it is a file within the limits.
    """

    candidates: Sequence[Candidate]
    numbers: np.ndarray
    errors: np.ndarray
    costs: np.ndarray
    are_points: np.ndarray

    def __len__(self) -> int:
        return len(self.candidates)

    @cached_property
    def front(self) -> np.ndarray:
        """Places of the non-dominated files, in order of rising cost."""
        places = np.flatnonzero(self.are_points)
        return np.asarray(places[staircase(self.costs[places], self.errors[places])])

    def with_more(self, rows: Sequence[tuple[Candidate, int, float, float, bool]]) -> Rows:
        """Return these rows and others after them."""
        candidates, numbers, errors, costs, are_points = zip(*rows, strict=True)
        return Rows(
            [*self.candidates, *candidates],
            np.append(self.numbers, numbers),
            np.append(self.errors, errors),
            np.append(self.costs, costs),
            np.append(self.are_points, are_points),
        )

    def first(self, n_rows: int) -> Rows:
        """Return the first rows."""
        return Rows(
            self.candidates[:n_rows],
            self.numbers[:n_rows],
            self.errors[:n_rows],
            self.costs[:n_rows],
            self.are_points[:n_rows],
        )

    def at(self, places: Sequence[int] | np.ndarray) -> Rows:
        """Return some of the rows."""
        chosen = np.asarray(places, int)
        candidates = [self.candidates[place] for place in chosen.tolist()]
        return Rows(candidates, self.numbers[chosen], self.errors[chosen], self.costs[chosen], self.are_points[chosen])


@final
class History:
    """What the trials of one problem taught. All that it keeps are memos of pure functions.

    Args:
        problem: Of the trials.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.encode = Encoding(problem)
        self._models: dict[str, Model] = {}
        self._drawn: dict[Candidate, Model] = {}
        self._forget()

    def _forget(self) -> None:
        self._told: list[Trial] = []
        self._rows = Rows([], np.array([], int), np.array([]), np.array([]), np.array([], bool))
        self.known: set[Candidate] = set()
        self.n_paid = 0
        self._fits: dict[str, tuple[int, np.ndarray]] = {}

    def tell(self, trials: Sequence[Trial]) -> Rows:
        """Return every file and every failure of these trials, in order of number.

        Afterwards `known` holds all canonical forms tried, `n_paid` the number of trials that cost budget.
        """
        if len(trials) < len(self._told) or not all(map(operator.is_, self._told, trials)):
            self._forget()
        found = []
        for trial in trials[len(self._told) :]:
            self.known.add(trial.candidate)
            self.n_paid += trial.is_paid
            found += self._rows_of(trial)
            self._told.append(trial)
        if found:
            self._rows = self._rows.with_more(found)
        return self._rows

    def log_costs(self) -> list[float]:
        """Return the exact log cost of each trial told, NaN where it is unknown."""
        return [self.model(trial.candidate).log_cost for trial in self._told]

    def fitted(self, kind: str, n_rows: int, fit: Callable[[], np.ndarray]) -> np.ndarray:
        """Return what `fit` returns for the first rows of the trials told; it is called once for a number of them."""
        if kind not in self._fits or self._fits[kind][0] != n_rows:
            self._fits[kind] = (n_rows, fit())
        return self._fits[kind][1]

    def model(self, candidate: Candidate) -> Model:
        """Return what is known of a candidate of the past."""
        if candidate.key not in self._models:
            self._models[candidate.key] = self.examine(candidate)
        return self._models[candidate.key]

    def examine(self, candidate: Candidate) -> Model:
        """Return what is known of any candidate; the latest ones are remembered."""
        if candidate not in self._drawn:
            if len(self._drawn) >= MAX_DRAWN:
                self._drawn.clear()
            self._drawn[candidate] = self._examine(candidate)
        return self._drawn[candidate]

    def _examine(self, candidate: Candidate) -> Model:
        return Model(self.problem, self.problem.canonical(candidate), self.encode)

    def _rows_of(self, trial: Trial) -> list[tuple[Candidate, int, float, float, bool]]:
        rows = []
        if trial.state is State.COMPLETE:
            for point in trial.points:
                error, cost = point.values[self.problem.error.name], point.values[self.problem.cost.name]
                allowed = self.problem.error.allows(error) and self.problem.cost.allows(cost)
                if math.isfinite(error) and math.isfinite(cost):
                    counted = log_cost(max(cost, self.problem.cost.floor))
                    rows.append((point.candidate, trial.number, error, counted, allowed))
        if trial.state is State.RACED and trial.estimate is not None:  # no file, but what was expected of it
            exact = self.model(trial.candidate).log_cost
            rows.append((trial.candidate, trial.number, trial.estimate, exact, False))
        if not rows and trial.state in (State.COMPLETE, State.FAILED):
            rows.append((trial.candidate, trial.number, math.inf, math.nan, False))
        return rows


def log_cost(cost: float) -> float:
    """Return the logarithm of a cost; costs are compared by ratio."""
    return math.log(max(cost, 1e-9))
