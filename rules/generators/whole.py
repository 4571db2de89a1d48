"""Whole points: small integers in place of fitted ones, so that a score can be added up in the head."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np

from rules.generators.refit import Patterns
from rules.rule import Calibration

__all__ = ["Card", "whole_points"]

MOST_POINTS = 5
SCALES = 12  # sizes of the largest points that are tried, from 1 to the most
STARTS = 3  # of them, how many are improved
SWEEPS = 10
NEWTON_STEPS = 25
DIGITS = 4  # of a probability


@final
@dataclass(frozen=True, eq=False)
class Card:
    """A score card.

    Args:
        points: Whole numbers, int64, shape (n_conditions,).
        calibration: What totals of them mean.
    """

    points: np.ndarray
    calibration: Calibration


@final
@dataclass(frozen=True, eq=False)
class _State:
    """Points with the best slope and base for them: the probability of a total t is the sigmoid of slope * t + base."""

    points: np.ndarray
    totals: np.ndarray
    loss: float
    slope: float
    base: float


def whole_points(data: Patterns, fitted: np.ndarray, truth: np.ndarray, *, ridge: float, signs: np.ndarray) -> Card:
    """Return whole points that lose little against fitted ones.

    Fitted points are scaled in several ways and rounded; from the best of these, single points are moved by one as long
    as the loss falls, where slope and base of the totals are fitted anew for each move.

    Args:
        data: Merged rows, with a column for each condition; targets of shape (n_patterns, 1).
        fitted: Points as log-odds, float64, shape (n_conditions,).
        truth: Targets that totals are calibrated with, without a teacher's share, float64, shape (n_patterns, 1).
        ridge: Of squared points as log-odds, in rows of average weight.
        signs: int, shape (n_conditions,): 1 or -1 where points must have that sign or be 0, else 0.

    Source: Ustun and Rudin (2019), arXiv:1610.00168, "Learning optimized risk scores", for what is minimised; Liu et
    al. (2022), arXiv:2210.05846, "FasterRisk", for multipliers; differs in that the slope is refitted exactly for each
    choice, and in that conditions are chosen before.
    """
    masks = data.masks.astype(np.int64)
    largest = float(np.abs(fitted).max(initial=0.0))
    begun = [_state(data, masks, np.zeros(len(fitted), np.int64), ridge)]
    if largest > 0:
        sizes = np.linspace(1, MOST_POINTS, SCALES)
        tried = {tuple(np.rint(fitted * size / largest).astype(np.int64).tolist()) for size in sizes}
        begun += [_state(data, masks, np.array(points, np.int64), ridge) for points in sorted(tried)]
    begun.sort(key=lambda state: state.loss)
    best = min((_improved(data, masks, state, ridge, signs) for state in begun[:STARTS]), key=lambda state: state.loss)
    best = _state(replace(data, targets=truth), masks, best.points, ridge)
    low, high = int(best.points[best.points < 0].sum()), int(best.points[best.points > 0].sum())
    steps = np.arange(low, high + 1)
    shares = np.round(1 / (1 + np.exp(-(max(best.slope, 0.0) * steps + best.base))), DIGITS)
    edges = tuple(float(step) - 0.5 for step in steps[1:])
    return Card(best.points, Calibration(edges, tuple(shares.tolist())))


def _improved(data: Patterns, masks: np.ndarray, state: _State, ridge: float, signs: np.ndarray) -> _State:
    """Move single points by one, as long as that lowers the loss."""
    for _ in range(SWEEPS):
        before = state.loss
        for place in range(len(state.points)):
            for step in (1, -1):
                points = state.points.copy()
                points[place] += step
                if abs(points[place]) > MOST_POINTS or points[place] * signs[place] < 0:
                    continue
                tried = _state(data, masks, points, ridge, state.totals + step * masks[:, place])
                if tried.loss < state.loss * (1 - 1e-9):
                    state = tried
        if state.loss >= before:
            break
    return state


def _state(
    data: Patterns, masks: np.ndarray, points: np.ndarray, ridge: float, totals: np.ndarray | None = None
) -> _State:
    """Fit slope and base to some points: few totals differ, so that rows are merged by them."""
    made = masks @ points if totals is None else totals
    lowest = int(made.min(initial=0))
    weights = np.bincount(made - lowest, data.weights)
    right = np.bincount(made - lowest, data.weights * data.targets[:, 0])
    seen = np.flatnonzero(weights > 0)
    values, weights, right = (seen + lowest).astype(np.float64), weights[seen], right[seen]
    penalty = max(ridge, 1e-3) * float((points**2).sum()) + 1e-9
    share = np.clip(right.sum() / weights.sum(), 1e-6, 1 - 1e-6)
    slope, base = 0.0, float(np.log(share / (1 - share)))
    loss = _loss(slope, base, values, weights, right, penalty)
    for _ in range(NEWTON_STEPS):
        p = 1 / (1 + np.exp(-np.clip(slope * values + base, -500, 500)))
        gap, curve = weights * p - right, weights * p * (1 - p)
        gradient = np.array([gap @ values + penalty * slope, gap.sum()])
        cross = float(curve @ values)
        hessian = np.array([[curve @ values**2 + penalty, cross], [cross, curve.sum() + 1e-9]])
        move, length = np.linalg.solve(hessian, gradient), 1.0
        while length > 1e-3:
            new = _loss(slope - length * move[0], base - length * move[1], values, weights, right, penalty)
            if new <= loss:
                break
            length /= 2
        else:
            break
        slope, base, gained, loss = slope - length * move[0], base - length * move[1], loss - new, new
        if gained < 1e-9 * abs(loss):
            break
    if slope < 0:
        loss = np.inf
    return _State(points, made, loss, slope, base)


def _loss(
    slope: float, base: float, values: np.ndarray, weights: np.ndarray, right: np.ndarray, penalty: float
) -> float:
    total = slope * values + base
    return float(weights @ np.logaddexp(0, total) - right @ total + 0.5 * penalty * slope**2)
