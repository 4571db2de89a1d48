"""Stopping a trial that can no longer reach the front at its own size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from engine.objective import Problem
from engine.space import Candidate
from engine.trial import Curve, State, Trial

__all__ = ["Forecast", "Race", "race_for"]

MIN_CURVES = 8  # whole trainings from which the first forecast is made
OPTIMISM = 2.0  # spreads by which a trial may fall short of its forecast before it is stopped
SMALLEST_ERROR = 1e-3  # errors are compared by ratio
# Of a log error around its forecast, and how many trials this belief weighs: few curves look tidier than they are.
PRIOR_SPREAD, PRIOR_TRIALS = 0.25, 8


@final
@dataclass(frozen=True)
class Forecast:
    """From the error after a share of the training to the final one: log final = start + slope x log error.

    Args:
        step: Share of the training, in (0, 1).
        start: For the size of one candidate.
        slope: Of the log error.
        spread: Standard deviation of the log final error around it.
    """

    step: float
    start: float
    slope: float
    spread: float

    def final(self, error: float) -> float:
        """Return the expected final error."""
        return math.exp(self.start + self.slope * _log(error))

    def hope(self, error: float) -> float:
        """Return the final error that a trial has when it goes well."""
        return self.final(error) * math.exp(-OPTIMISM * self.spread)


@final
@dataclass(frozen=True)
class Race:
    """What one trial has to reach, and what its errors on the way foretell.

    The trial is compared with the front at its own size or below, which is known before it starts; so two objectives
    need no weights.

    Args:
        target: Smallest error of the known files that are no larger; the trial must have less to join the front.
        forecasts: One for each report, in order.

    Example:
        >>> race = Race(0.1, (Forecast(0.25, 0.0, 1.0, 0.5),))
        >>> race.estimate(0.25, 0.12), race.estimate(0.25, 0.5)
        (None, 0.5)
    """

    target: float
    forecasts: tuple[Forecast, ...]

    def estimate(self, step: float, error: float) -> float | None:
        """Return the expected final error of a trial that shall stop, or None where it shall go on."""
        for forecast in self.forecasts:
            if math.isclose(forecast.step, step, abs_tol=0.01) and forecast.hope(error) >= self.target:
                return forecast.final(error)
        return None


def race_for(problem: Problem, candidate: Candidate, trials: Sequence[Trial]) -> Race | None:
    """Return the race of a candidate against what is known, or None while too little is known.

    Args:
        problem: Tells the exact cost; where it cannot, nobody races.
        candidate: In canonical form.
        trials: Known when the candidate was proposed. Whole trainings teach; stopped ones do not, which errs on the
            side of going on.

    Source: reading a learning curve early follows Domhan et al. (2015); here a regression over the ended trials of the
    same search, on error and size, and the bar is the front at the candidate's size instead of the best error.
    """
    cost = problem.exact_cost(candidate)
    whole = [trial for trial in trials if trial.state is State.COMPLETE and trial.curve and len(trial.points) == 1]
    if cost is None or len(whole) < MIN_CURVES:
        return None
    points = [point for trial in trials for point in trial.points]
    beaten = [point.values["error"] for point in points if point.values[problem.cost.name] <= cost]
    if not beaten:
        return None
    forecasts = (_forecast(problem, whole, place, cost) for place in range(max(len(trial.curve) for trial in whole)))
    return Race(min(beaten), tuple(forecast for forecast in forecasts if forecast is not None))


def _forecast(problem: Problem, whole: Sequence[Trial], place: int, cost: float) -> Forecast | None:
    """Fit the fall of the log error from one report to the end, over error and size, drawn towards the mean fall."""
    trials = [trial for trial in whole if len(trial.curve) > place]
    if len(trials) < MIN_CURVES:
        return None
    points = [trial.points[0] for trial in trials]
    early = np.array([_log(trial.curve[place][1]) for trial in trials])
    sizes = np.array([_log(point.values[problem.cost.name]) for point in points])
    fall = np.array([_log(point.values["error"]) for point in points]) - early
    design = np.stack([early - early.mean(), sizes - sizes.mean()], axis=1)
    by_error, by_size = np.linalg.solve(design.T @ design + np.eye(2), design.T @ (fall - fall.mean()))
    rest = fall - fall.mean() - design @ [by_error, by_size]
    belief = PRIOR_TRIALS * PRIOR_SPREAD**2 + float((rest**2).sum())
    spread = math.sqrt(belief / (PRIOR_TRIALS + max(1, len(trials) - 3)))
    start = float(fall.mean() - by_error * early.mean() + by_size * (_log(cost) - sizes.mean()))
    return Forecast(_step(trials, place), start, 1.0 + float(by_error), spread)


def _step(trials: Sequence[Trial], place: int) -> float:
    curve: Curve = trials[0].curve
    return curve[place][0]


def _log(value: float) -> float:
    return math.log(max(value, SMALLEST_ERROR))
