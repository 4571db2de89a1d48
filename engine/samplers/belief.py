"""What the trials so far lead to expect of a candidate: its error, its cost, whether it fails, what it would add."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from engine.samplers.gain import expected_gain
from engine.samplers.history import History, Model, Rows, log_cost
from engine.samplers.rough import RoughCost
from engine.samplers.surrogate import Surrogate, fitted_scales

__all__ = ["COST_UNIT", "Belief"]

MAX_ROWS = 200  # trials that the surrogate is conditioned on
MAX_FIT_ROWS = 96  # trials that its scales are fitted on
FIT_EVERY = 8  # trials; later, so that there are eight to sixteen fits while trials double
COST_UNIT = 3.0  # of log cost: a factor of 20 counts as one whole feature
CAP = 0.75  # quantile of what errors exceed the trend by, above which worse is no longer told from bad
TREND_CAP = 0.9  # quantile of errors, likewise, while the trend is drawn
NEARNESS = 0.1  # of the range of log cost: how near rows must be to tell how surprising rows are there
USUAL_ROWS = 2.0  # rows as surprising as the surrogate expects, that are added to those seen
LEAST_POINTS = 4  # files among the rows fitted on
FAILURE_NOISE = math.log(0.1)
LEAST_CHANCE = 0.001  # to work, of a candidate that is sure to fail


@final
@dataclass(frozen=True)
class Belief:
    """What is expected of any candidate. Make it with `of`.

    Log errors are modelled as what they exceed a trend over log cost by, and what exceeds it by more than three
    quarters of the trials do counts as that much: a model that fits the differences between bad candidates is blind
    for those between good ones. Where trials of about a candidate's cost surprised the surrogate, its spread is
    widened.
    """

    history: History
    errors: Surrogate
    trend: tuple[float, float]  # log error at log cost 0, and by how much it grows with log cost
    surprises: tuple[np.ndarray, np.ndarray, float]  # log costs, squared surprises, nearness
    failures: Surrogate | None
    costs: Surrogate | None
    rough: RoughCost | None  # where costs are known exactly
    front: tuple[np.ndarray, np.ndarray]  # log costs and log errors

    @staticmethod
    def of(history: History, rows: Rows, pending: Sequence[Model]) -> Belief:
        """Return what these rows teach; what is pending counts as if it had ended as predicted.

        Args:
            history: Of the problem.
            rows: At least one of them a file within the limits.
            pending: What is known of candidates whose results are not.
        """
        seen = rows.at(_informative(rows, MAX_ROWS))
        costs = _cost_surrogate(history, seen, rows)
        scales = history.fitted("error", _fitted_rows(rows), lambda: _fit(history, rows))
        features, at = _inputs(history, seen, costs)
        groups = history.encode.groups(features.shape[1])
        floor, worst = _error_range(rows)
        values, trend = _above_trend(_log_errors(seen, floor, worst), at)
        errors = Surrogate.conditioned(features, groups, values, scales)
        rough = None if costs is not None else RoughCost.of(features[:, :-1], at)
        surprises = (at, errors.surprises(), NEARNESS * max(1e-9, float(np.ptp(at))))
        if pending:  # so that the same region is not asked for twice
            waiting = _with_costs(pending, costs)
            believed = np.concatenate([values, errors.predict(waiting)[0]])
            errors = Surrogate.conditioned(np.concatenate([features, waiting]), groups, believed, scales)
        failed = np.isinf(seen.errors).astype(float)
        failures = None
        if failed.any():
            failures = Surrogate.conditioned(features, groups, failed, np.append(scales[:-1], FAILURE_NOISE))
        front = rows.at(rows.front)
        steps = (front.costs, np.log(np.maximum(floor, front.errors)))
        return Belief(history, errors, trend, surprises, failures, costs, rough, steps)

    def gains(self, models: Sequence[Model]) -> np.ndarray:
        """Return the logarithm of the hypervolume that each candidate is expected to add."""
        return self.gains_at(_with_costs(models, self.costs))

    def gains_at(self, features: np.ndarray, reach: np.ndarray | None = None) -> np.ndarray:
        """Return the same of features whose last one is the cost; `reach` as in `expected_gain`."""
        costs = features[:, -1] * COST_UNIT
        mean, spread = self.errors.predict(features)
        at, surprises, nearness = self.surprises
        near = np.exp(-0.5 * ((costs[:, None] - at) / nearness) ** 2)
        spread = spread * np.sqrt((near @ surprises + USUAL_ROWS) / (near.sum(axis=1) + USUAL_ROWS))
        gain = expected_gain(*self.front, costs, self.trend[0] + self.trend[1] * costs + mean, spread, reach)
        if self.failures is not None:  # bad, and also likely to fail again, however little is known beside it
            gain = gain * np.clip(1.0 - self.failures.predict(features)[0], LEAST_CHANCE, 1.0)
        limit = self.history.problem.cost.limit
        gain = gain if limit is None else np.where(costs <= log_cost(limit), gain, 0.0)
        return np.asarray(np.log(np.maximum(gain, 1e-300)))


def _fitted_rows(rows: Rows) -> int:
    """Return how many of the first rows scales are fitted on, so that they are not fitted anew with each."""
    step = max(FIT_EVERY, 2 ** (len(rows).bit_length() - 4))
    n_fitted = len(rows) - len(rows) % step
    return n_fitted if rows.are_points[:n_fitted].sum() >= LEAST_POINTS else len(rows)


def _to_fit(rows: Rows) -> Rows:
    first = rows.first(_fitted_rows(rows))
    return first.at(_informative(first, MAX_FIT_ROWS))


def _fit(history: History, rows: Rows) -> np.ndarray:
    """Return the scales of errors: a function of the rows fitted on alone, whatever came after them."""
    fitted = _to_fit(rows)
    features, at = _inputs(history, fitted, _cost_surrogate(history, fitted, rows))
    values, _ = _above_trend(_log_errors(fitted, *_error_range(fitted)), at)
    return fitted_scales(features, history.encode.groups(features.shape[1]), values)


def _cost_surrogate(history: History, rows: Rows, all_rows: Rows) -> Surrogate | None:
    """Return what predicts log costs, or None where all are known exactly."""
    models = [history.model(candidate) for candidate in rows.candidates]
    if not any(math.isnan(model.log_cost) for model in models):
        return None
    features = np.stack([model.features for model in models])
    groups = history.encode.groups(features.shape[1])
    known = ~np.isnan(rows.costs)

    def fit() -> np.ndarray:
        fitted = _to_fit(all_rows)
        measured = fitted.at(np.flatnonzero(~np.isnan(fitted.costs)))
        inputs = np.stack([history.model(candidate).features for candidate in measured.candidates])
        return fitted_scales(inputs, groups, measured.costs)

    return Surrogate.conditioned(
        features[known], groups, rows.costs[known], history.fitted("cost", _fitted_rows(all_rows), fit)
    )


def _inputs(history: History, rows: Rows, costs: Surrogate | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the features of rows, cost last, and their log costs: measured, else exact, else predicted."""
    features = _with_costs([history.model(candidate) for candidate in rows.candidates], costs)
    features[:, -1] = np.where(np.isnan(rows.costs), features[:, -1], rows.costs / COST_UNIT)
    return features, features[:, -1] * COST_UNIT


def _with_costs(models: Sequence[Model], costs: Surrogate | None) -> np.ndarray:
    """Return features with log cost, in its unit, as the last one."""
    features = np.stack([model.features for model in models])
    exact = np.array([model.log_cost for model in models])
    if costs is not None:
        exact = np.where(np.isnan(exact), costs.predict(features)[0], exact)
    return np.column_stack([features, exact / COST_UNIT])


def _error_range(rows: Rows) -> tuple[float, float]:
    """Return half of the least error above 0, and the largest one."""
    finite = rows.errors[np.isfinite(rows.errors)]
    positive = finite[finite > 0]
    return (float(positive.min()) / 2 if len(positive) else 5e-7), float(finite.max(initial=0.0))


def _log_errors(rows: Rows, floor: float, worst: float) -> np.ndarray:
    return np.asarray(np.log(np.clip(rows.errors, floor, max(floor, worst))))


def _above_trend(errors: np.ndarray, costs: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """Return what log errors exceed a straight line over log costs by, capped, and the line."""
    capped = np.minimum(errors, np.quantile(errors, TREND_CAP))
    away = costs - costs.mean()
    slope = float(away @ capped / max(1e-9, float(away @ away)))
    start = float(capped.mean()) - slope * float(costs.mean())
    above = errors - start - slope * costs
    return np.minimum(above, np.quantile(above, CAP)), (start, slope)


def _informative(rows: Rows, most: int) -> np.ndarray:
    """Return the places of at most `most` rows: two thirds nearest to the front, the others evenly from the rest."""
    if len(rows) <= most:
        return np.arange(len(rows))
    front = rows.at(rows.front)
    steps = np.maximum(0, np.searchsorted(front.costs, rows.costs, side="right") - 1)
    gaps = rows.errors / np.maximum(1e-12, front.errors[steps]) if len(front) else rows.errors
    order = np.argsort(gaps, kind="stable")
    n_near = 2 * most // 3
    rest = order[n_near:]
    far = rest[np.linspace(0, len(rest) - 1, most - n_near).astype(int)]
    return np.sort(np.concatenate([order[:n_near], far]))
