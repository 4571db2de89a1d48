"""Points of chosen conditions: logistic, multinomial or least squares, on rows with equal answers merged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import numpy as np

__all__ = ["Fitted", "Kind", "Patterns", "fitted", "patterns", "probabilities"]

Kind = Literal["logistic", "multinomial", "squares"]
NEWTON_STEPS = 30
TOLERANCE = 1e-8


@final
@dataclass(frozen=True, eq=False)
class Patterns:
    """Rows merged where the same conditions hold.

    Args:
        masks: Which conditions hold, float64, shape (n_patterns, n_conditions).
        targets: Mean target, float64, shape (n_patterns, n_outputs).
        weights: Sum of the weights, float64, shape (n_patterns,).
        rows: Pattern of each row, int64, shape (n_rows,).
    """

    masks: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    rows: np.ndarray


@final
@dataclass(frozen=True, eq=False)
class Fitted:
    """Points.

    Args:
        points: float64, shape (n_conditions, n_outputs).
        base: What every total begins with, float64, shape (n_outputs,).
    """

    points: np.ndarray
    base: np.ndarray

    def totals(self, masks: np.ndarray) -> np.ndarray:
        """Return the sums of points, float64, shape (n_rows, n_outputs)."""
        summed: np.ndarray = masks @ self.points + self.base
        return summed


def patterns(masks: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> Patterns:
    """Merge rows in which the same conditions hold: a few rules cannot tell them apart.

    Args:
        masks: bool, shape (n_rows, n_conditions).
        targets: float64, shape (n_rows, n_outputs).
        weights: float64, shape (n_rows,).
    """
    packed = np.packbits(masks, axis=1)
    width = -packed.shape[1] % 8
    keys = np.ascontiguousarray(np.pad(packed, ((0, 0), (0, width)))).view(np.uint64)
    if keys.shape[1] == 0:
        rows, first = np.zeros(len(masks), np.int64), np.zeros(min(1, len(masks)), np.int64)
    elif keys.shape[1] == 1:
        _, first, rows = np.unique(keys[:, 0], return_index=True, return_inverse=True)
    else:
        _, first, rows = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    rows = rows.reshape(-1)
    total = np.bincount(rows, weights, minlength=len(first))
    sums = [np.bincount(rows, weights * targets[:, k], minlength=len(first)) for k in range(targets.shape[1])]
    means = np.stack(sums, axis=1) / np.maximum(total, 1e-300)[:, None]
    return Patterns(masks[first].astype(np.float64), means, total, rows)


def fitted(
    data: Patterns, chosen: list[int], *, kind: Kind, ridge: float, signs: np.ndarray
) -> tuple[list[int], Fitted]:
    """Fit the points of some conditions; a condition whose points would break their sign is left out.

    Args:
        data: Merged rows.
        chosen: Numbers of conditions.
        kind: Of the loss.
        ridge: Of squared points, in rows of average weight.
        signs: int, shape (n_conditions,): 1 or -1 where points must have that sign, else 0.

    Returns:
        The conditions that stay, and their points.
    """
    chosen = list(chosen)
    while True:
        masks = data.masks[:, chosen]
        made = _FITS[kind](masks, data.targets, data.weights, ridge)
        wrong = [n for n, c in enumerate(chosen) if signs[c] and np.sign(made.points[n, 0]) not in (0, signs[c])]
        if not wrong:
            return chosen, made
        worst = max(wrong, key=lambda n: abs(made.points[n, 0]))
        del chosen[worst]


def probabilities(totals: np.ndarray, kind: Kind) -> np.ndarray:
    """Return what totals of points mean: probability of the second class, of each class, or the values themselves."""
    if kind == "squares":
        return totals
    if kind == "logistic":
        made: np.ndarray = 1 / (1 + np.exp(-np.clip(totals, -500, 500)))
        return made
    raised = np.exp(totals - totals.max(axis=1, keepdims=True))
    shares: np.ndarray = raised / raised.sum(axis=1, keepdims=True)
    return shares


def _squares(masks: np.ndarray, targets: np.ndarray, weights: np.ndarray, ridge: float) -> Fitted:
    columns = np.hstack([np.ones((len(masks), 1)), masks])
    weighted = columns * weights[:, None]
    penalty = np.full(columns.shape[1], max(ridge, 1e-6))
    penalty[0] = 0
    solved = np.linalg.solve(weighted.T @ columns + np.diag(penalty), weighted.T @ targets)
    return Fitted(solved[1:], solved[0])


def _logistic(masks: np.ndarray, targets: np.ndarray, weights: np.ndarray, ridge: float) -> Fitted:
    columns = np.hstack([np.ones((len(masks), 1)), masks])
    penalty = np.full(columns.shape[1], max(ridge, 1e-3))
    penalty[0] = 1e-6
    share = np.clip(np.average(targets[:, 0], weights=weights), 1e-6, 1 - 1e-6)
    points = np.zeros(columns.shape[1])
    points[0] = np.log(share / (1 - share))
    loss = _logistic_loss(points, columns, targets[:, 0], weights, penalty)
    for _ in range(NEWTON_STEPS):
        p = probabilities(columns @ points, "logistic")
        slope = columns.T @ (weights * (p - targets[:, 0])) + penalty * points
        curve = (columns * (weights * p * (1 - p))[:, None]).T @ columns + np.diag(penalty + 1e-9)
        step, length = np.linalg.solve(curve, slope), 1.0
        while length > 1e-4:
            tried = points - length * step
            new = _logistic_loss(tried, columns, targets[:, 0], weights, penalty)
            if new <= loss:
                break
            length /= 2
        else:
            break
        gained, loss, points = loss - new, new, tried
        if gained < TOLERANCE * abs(loss):
            break
    return Fitted(points[1:, None], points[:1])


def _logistic_loss(
    points: np.ndarray, columns: np.ndarray, target: np.ndarray, weights: np.ndarray, penalty: np.ndarray
) -> float:
    total = columns @ points
    return float(weights @ (np.logaddexp(0, total) - target * total) + 0.5 * penalty @ points**2)


def _multinomial(masks: np.ndarray, targets: np.ndarray, weights: np.ndarray, ridge: float) -> Fitted:
    from scipy.optimize import minimize

    columns = np.hstack([np.ones((len(masks), 1)), masks])
    count, width = columns.shape[1], targets.shape[1]
    penalty = np.full((count, 1), max(ridge, 1e-3))
    penalty[0] = 1e-3
    total_weight = float(weights.sum())

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        points = flat.reshape(count, width)
        totals = columns @ points
        top = totals.max(axis=1, keepdims=True)
        logs = totals - top - np.log(np.exp(totals - top).sum(axis=1, keepdims=True))
        value = -float(weights @ (targets * logs).sum(axis=1)) + 0.5 * float((penalty * points**2).sum())
        slope = columns.T @ (weights[:, None] * (np.exp(logs) - targets)) + penalty * points
        return value / total_weight, slope.reshape(-1) / total_weight

    found = minimize(loss, np.zeros(count * width), jac=True, method="L-BFGS-B", options={"maxiter": 200})
    points = found.x.reshape(count, width)
    return Fitted(points[1:], points[0])


_FITS = {"squares": _squares, "logistic": _logistic, "multinomial": _multinomial}
