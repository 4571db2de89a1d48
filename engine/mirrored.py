"""Trials as Optuna's: what a mirrored study tells of each of their points."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from engine.objective import Problem
from engine.samplers.optuna import distributions_of
from engine.trial import Point, State, Trial

if TYPE_CHECKING:
    import optuna

__all__ = ["entries_of"]


def entries_of(problem: Problem, trial: Trial, ended: datetime) -> list[optuna.trial.FrozenTrial]:
    """Return an Optuna trial for each point of a trial; one without values for a trial that has none.

    Args:
        problem: Its space and the names of its two axes.
        trial: Ended.
        ended: When, for the dashboard's time line.
    """
    return [_entry(problem, trial, place, point, ended) for place, point in enumerate(trial.points or (None,))]


def _entry(
    problem: Problem, trial: Trial, place: int, point: Point | None, ended: datetime
) -> optuna.trial.FrozenTrial:
    import optuna

    candidate = trial.candidate if point is None else point.candidate
    attributes: dict[str, Any] = {
        "number": trial.number,
        "point": place,
        "state": trial.state.value,
        "seconds": trial.seconds,
        "seed": trial.seed,
    }
    values = None
    if point is not None:
        axes = (problem.error.name, problem.cost.name)
        attributes |= {name: value for name, value in point.values.items() if name not in axes or name == "bytes"}
        attributes["sha256"] = point.sha256
        values = [point.values[axis] for axis in axes]
    if trial.error:
        attributes["error"] = trial.error
    if trial.twin is not None:
        attributes["twin"] = trial.twin
    is_scored = trial.state in (State.COMPLETE, State.CACHED) and values and all(map(math.isfinite, values))
    states = optuna.trial.TrialState
    entry = optuna.trial.create_trial(
        state=states.COMPLETE if is_scored else states.PRUNED if trial.state is State.RACED else states.FAIL,
        values=values if is_scored else None,
        params=candidate.genes,
        distributions=distributions_of(problem.space, candidate),
        user_attrs=attributes,
    )
    entry.datetime_start, entry.datetime_complete = ended - timedelta(seconds=trial.seconds), ended
    return entry
