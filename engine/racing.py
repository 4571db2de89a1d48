"""Stopping a trial that can no longer reach the front at its own size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import final

import numpy as np

from engine.objective import Problem
from engine.space import Candidate
from engine.trial import Curve, State, Trial

__all__ = ["Forecast", "Race", "race_for"]

MIN_CURVES = 5  # whole trainings from which the first forecast is made
MAX_CURVES = 256  # those nearest in size, so that a long search does not slow down
LEAST_CHANCE = 0.4  # of reaching the front, below which a trial is stopped
SMALLEST_ERROR = 1e-3  # errors are compared by ratio
# Of a log error around its forecast, and how many trials this belief weighs: few curves look tidier than they are.
PRIOR_SPREAD, PRIOR_TRIALS = 0.25, 8


@final
@dataclass(frozen=True)
class Forecast:
    """From the errors up to one report to the final one: log final = start + sum of weights x log errors.

    Args:
        step: Share of the training at that report, in (0, 1).
        start: For the size of one candidate.
        weights: Of the log error of each report so far, in order.
        spread: Standard deviation of the log final error around it.
    """

    step: float
    start: float
    weights: tuple[float, ...]
    spread: float

    def final(self, errors: Sequence[float]) -> float:
        """Return the expected final error."""
        return math.exp(self.start + sum(w * _log(error) for w, error in zip(self.weights, errors, strict=True)))

    def chance(self, errors: Sequence[float], target: float) -> float:
        """Return how likely the final error is to be less than a target."""
        return 0.0 if target <= 0 else NormalDist(_log(self.final(errors)), self.spread).cdf(_log(target))


@final
@dataclass(frozen=True)
class Race:
    """What one trial has to reach, and what its errors on the way foretell.

    The trial is compared with the front at its own size or below, which is known before it starts; so two objectives
    need no weights.

    Args:
        target: Smallest error of the known files that are no larger; the trial must have less to join the front.
        forecasts: One for each report but that of the end, in order.

    Example:
        >>> race = Race(0.1, (Forecast(0.25, 0.0, (1.0,), 0.5),))
        >>> race.estimate([(0.25, 0.11)]), race.estimate([(0.25, 0.5)])
        (None, 0.5)
    """

    target: float
    forecasts: tuple[Forecast, ...]

    def estimate(self, curve: Sequence[tuple[float, float]]) -> float | None:
        """Return the expected final error of a trial that shall stop, or None where it shall go on.

        Args:
            curve: What the trial has reported so far, (share of the training, validation error), in order.
        """
        place = len(curve) - 1
        if place >= len(self.forecasts) or not _is_at(curve[place], self.forecasts[place].step):
            return None
        forecast, errors = self.forecasts[place], [error for _, error in curve]
        return forecast.final(errors) if forecast.chance(errors, self.target) < LEAST_CHANCE else None


def race_for(problem: Problem, candidate: Candidate, trials: Sequence[Trial]) -> Race | None:
    """Return the race of a candidate against what is known, or None while too little is known.

    Args:
        problem: Tells the exact cost; where it cannot, nobody races.
        candidate: In canonical form.
        trials: Known when the candidate was proposed. Whole trainings teach; stopped ones do not, which errs on the
            side of going on.

    Source: reading a learning curve early follows Domhan et al. (2015); here a regression over the ended trials of the
    same search, on the errors so far and on size, and the bar is the front at the candidate's size instead of the best
    error.
    """
    cost = problem.exact_cost(candidate)
    whole = [trial for trial in trials if trial.state is State.COMPLETE and trial.curve and len(trial.points) == 1]
    if cost is None or len(whole) < MIN_CURVES:
        return None
    points = [point for trial in trials for point in trial.points]
    most = max(cost, problem.cost.floor)
    beaten = [point.values["error"] for point in points if point.values[problem.cost.name] <= most]
    if not beaten:
        return None
    whole = sorted(whole, key=lambda trial: abs(_log(trial.points[0].values[problem.cost.name]) - _log(cost)))
    whole = whole[:MAX_CURVES]
    longest: Curve = max((trial.curve for trial in whole), key=len)
    forecasts = []
    for place, (step, _) in enumerate(longest):
        whole = [trial for trial in whole if len(trial.curve) > place and _is_at(trial.curve[place], step)]
        if len(whole) < MIN_CURVES or step >= 1:  # at the end nothing is left to save
            break
        forecasts.append(_forecast(problem, whole, place, cost))
    return Race(min(beaten), tuple(forecasts))


def _forecast(problem: Problem, whole: Sequence[Trial], place: int, cost: float) -> Forecast:
    """Fit the fall of the log error from one report to the end, drawn towards the mean fall.

    Short trainings favour small networks, and a quantized one errs for a while: so the fall depends on the size and on
    all errors so far, which together tell how far a trial has come.
    """
    points = [trial.points[0] for trial in whole]
    early = np.array([[_log(error) for _, error in trial.curve[: place + 1]] for trial in whole])
    sizes = np.array([_log(point.values[problem.cost.name]) for point in points])
    fall = np.array([_log(point.values["error"]) for point in points]) - early[:, -1]
    known = np.column_stack([early, sizes])
    design = known - known.mean(axis=0)
    by = np.linalg.solve(design.T @ design + np.eye(design.shape[1]), design.T @ (fall - fall.mean()))
    rest = fall - fall.mean() - design @ by
    belief = PRIOR_TRIALS * PRIOR_SPREAD**2 + float((rest**2).sum())
    spread = math.sqrt(belief / (PRIOR_TRIALS + max(1, len(whole) - design.shape[1] - 1)))
    start = float(fall.mean() - known.mean(axis=0) @ by + by[-1] * _log(cost))
    weights = by[:-1] + np.eye(place + 1)[-1]
    return Forecast(whole[0].curve[place][0], start, tuple(float(weight) for weight in weights), spread)


def _is_at(report: tuple[float, float], step: float) -> bool:
    return math.isclose(report[0], step, abs_tol=0.01)


def _log(value: float) -> float:
    return math.log(max(value, SMALLEST_ERROR))
