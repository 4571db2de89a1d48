"""Fitting weighted sums: logistic, softmax and least squares, with ridge, lasso and signs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import minimize

__all__ = ["answers", "fit_weights", "while_asked"]

MOST_STEPS = 200
LARGEST_EXACT = 1500  # features up to which all pairs of them are looked at
LEAST_CURVE = 0.01


def answers(scores: np.ndarray, link: str) -> np.ndarray:
    """Return what scores say: values, or probabilities of all classes.

    Args:
        scores: float64, shape (n_rows, n_scores).
        link: `identity`, `sigmoid` (one score, two classes) or `softmax`.
    """
    if link == "identity":
        return scores
    if link == "sigmoid":
        return np.asarray(np.exp(-np.logaddexp(0, np.concatenate([scores, -scores], axis=1))))
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def fit_weights(
    features: Any,
    goal: np.ndarray,
    weight: np.ndarray,
    link: str,
    *,
    ridge: float,
    lasso: float = 0.0,
    start: tuple[np.ndarray, np.ndarray] | None = None,
    signs: np.ndarray | None = None,
    steps: int = MOST_STEPS,
    goes_on: Callable[[], bool] = lambda: True,
) -> tuple[np.ndarray, np.ndarray]:
    """Minimise weighted loss + ridge / 2 |w - start|^2 + lasso |w|.

    Args:
        features: Shape (n_rows, n_features), dense or sparse.
        goal: What scores shall reach through the link, shape (n_rows, n_scores).
        weight: Of each row, shape (n_rows,).
        link: See `answers`; with `sigmoid` there is one score, the second class's.
        ridge: In rows: as if so many rows said that a weight is its start.
        lasso: Likewise, of absolute values; weights become exactly zero.
        start: Weights and biases to begin with and to shrink to; by default zeros.
        signs: 1 or -1 where the weights of a feature must have that sign, 0 elsewhere, shape (n_features,).
        steps: Of the optimiser, at most.
        goes_on: Asked after each step; False ends the fit with what there is.

    Returns:
        Weights, float64, shape (n_features, n_scores), and biases, shape (n_scores,).

    Example:
        >>> x = np.arange(6.0)[:, None]
        >>> w, b = fit_weights(x, 2 * x + 1, np.ones(6), "identity", ridge=0.0)
        >>> w.round(4).tolist(), b.round(4).tolist()
        ([[2.0]], [1.0])
    """
    count, outputs = features.shape[1], goal.shape[1]
    centre = (np.zeros((count, outputs)), _base(goal, weight, link)) if start is None else start
    if link == "identity" and not lasso and signs is None and count <= LARGEST_EXACT:
        return _least_squares(features, goal, weight, ridge, centre)
    if not lasso and signs is None and count <= LARGEST_EXACT and not hasattr(features, "tocsr"):
        return _whitened(features, goal, weight, link, ridge, centre, steps, goes_on)
    return _bounded(features, goal, weight, link, ridge, lasso, centre, signs, steps, goes_on)


def _whitened(
    features: np.ndarray,
    goal: np.ndarray,
    weight: np.ndarray,
    link: str,
    ridge: float,
    centre: tuple[np.ndarray, np.ndarray],
    steps: int,
    goes_on: Callable[[], bool],
) -> tuple[np.ndarray, np.ndarray]:
    """Minimise along the axes of the curvature at the start: few steps, however alike features are."""
    count, outputs = features.shape[1], goal.shape[1]
    mean = np.average(goal, axis=0, weights=weight)
    curve = float((mean * (1 - mean)).mean()) if link != "identity" else 1.0
    means = features.T @ weight / weight.sum()
    gram = (features * weight[:, None]).T @ features - weight.sum() * np.outer(means, means)
    gram = max(curve, LEAST_CURVE) * gram
    gram[np.diag_indices_from(gram)] += ridge + 1e-6 * (1 + np.trace(gram) / max(len(gram), 1))
    back = solve_triangular(np.linalg.cholesky(gram), np.eye(count), lower=True).T
    white = (features - means) @ back
    first = np.asarray(features @ centre[0]) + centre[1]
    size = count * outputs

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat[:size].reshape(count, outputs)
        value, slope = _loss(first + white @ w + flat[size:], goal, weight, link)
        away = back @ w
        by_weight = white.T @ slope + ridge * (back.T @ away)
        return value + 0.5 * ridge * float((away**2).sum()), np.concatenate([by_weight.ravel(), slope.sum(axis=0)])

    found = minimize(
        loss,
        np.zeros(size + outputs),
        jac=True,
        method="L-BFGS-B",
        callback=while_asked(goes_on),
        options={"maxiter": steps, "maxcor": 20},
    ).x
    moved = back @ found[:size].reshape(count, outputs)
    return centre[0] + moved, centre[1] + found[size:] - means @ moved


def _bounded(
    features: Any,
    goal: np.ndarray,
    weight: np.ndarray,
    link: str,
    ridge: float,
    lasso: float,
    centre: tuple[np.ndarray, np.ndarray],
    signs: np.ndarray | None,
    steps: int,
    goes_on: Callable[[], bool],
) -> tuple[np.ndarray, np.ndarray]:
    """Minimise over weights as they are, within bounds; with a lasso over their positive and negative parts."""
    count, outputs = features.shape[1], goal.shape[1]
    parts = 2 if lasso else 1
    size = count * outputs

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat[:size].reshape(count, outputs)
        if lasso:
            w = w - flat[size : 2 * size].reshape(count, outputs)
        scores = np.asarray(features @ w) + flat[parts * size :]
        value, slope = _loss(scores, goal, weight, link)
        away = w - centre[0]
        by_weight = np.asarray(features.T @ slope) + ridge * away
        value += 0.5 * ridge * float((away**2).sum()) + lasso * float(flat[: parts * size].sum() if lasso else 0.0)
        pieces = [by_weight.ravel() + lasso, lasso - by_weight.ravel()] if lasso else [by_weight.ravel()]
        return value, np.concatenate([*pieces, slope.sum(axis=0)])

    first = [np.maximum(centre[0], 0).ravel(), np.maximum(-centre[0], 0).ravel()] if lasso else [centre[0].ravel()]
    bounds = _bounds(signs, count, outputs, parts)
    found = minimize(
        loss,
        np.concatenate([*first, centre[1]]),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        callback=while_asked(goes_on),
        options={"maxiter": steps, "maxcor": 20},
    ).x
    w = found[:size].reshape(count, outputs)
    if lasso:
        w = w - found[size : 2 * size].reshape(count, outputs)
    return w, found[parts * size :]


def while_asked(goes_on: Callable[[], bool]) -> Callable[[np.ndarray], None]:
    """Return what ends an optimiser of scipy when it is no longer to go on."""

    def ask(_: np.ndarray) -> None:
        if not goes_on():
            raise StopIteration  # by which scipy's optimisers end with what they have

    return ask


def _loss(scores: np.ndarray, goal: np.ndarray, weight: np.ndarray, link: str) -> tuple[float, np.ndarray]:
    """Return the weighted loss and its derivative by the scores."""
    if link == "identity":
        away = scores - goal
        return 0.5 * float((weight[:, None] * away**2).sum()), weight[:, None] * away
    if link == "sigmoid":
        small = np.exp(-np.abs(scores))  # one power gives both: several times quicker than logaddexp
        value = float((weight[:, None] * (np.maximum(scores, 0) + np.log1p(small) - goal * scores)).sum())
        return value, weight[:, None] * (np.where(scores >= 0, 1.0, small) / (1 + small) - goal)
    top = scores.max(axis=1, keepdims=True)
    total = np.log(np.exp(scores - top).sum(axis=1, keepdims=True)) + top
    value = float((weight[:, None] * goal * (total - scores)).sum())
    return value, weight[:, None] * (np.exp(scores - total) - goal)


def _base(goal: np.ndarray, weight: np.ndarray, link: str) -> np.ndarray:
    """Return the biases that answer the mean."""
    mean = np.average(goal, axis=0, weights=weight)
    if link == "identity":
        return np.asarray(mean)
    mean = np.clip(mean, 1e-4, 1 - 1e-4)
    return np.asarray(np.log(mean) if link == "softmax" else np.log(mean / (1 - mean)))


def _least_squares(
    features: Any, goal: np.ndarray, weight: np.ndarray, ridge: float, centre: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    total = weight.sum()
    means = np.asarray(features.T @ weight).ravel() / total
    target = goal - np.asarray(features @ centre[0])
    mean = weight @ target / total
    weighted = features.multiply(weight[:, None]).tocsr() if hasattr(features, "tocsr") else features * weight[:, None]
    gram = features.T @ weighted
    gram = np.asarray(gram.todense() if hasattr(gram, "todense") else gram) - total * np.outer(means, means)
    gram[np.diag_indices_from(gram)] += ridge + 1e-9 * (1 + np.trace(gram) / len(gram))
    right = np.asarray(weighted.T @ target) - total * np.outer(means, mean)
    w = np.linalg.solve(gram, right)
    return w + centre[0], mean - means @ w


def _bounds(
    signs: np.ndarray | None, count: int, outputs: int, parts: int
) -> list[tuple[float | None, float | None]] | None:
    """Return the ranges of the optimiser's numbers; None where there are none."""
    if signs is None and parts == 1:
        return None
    given = np.zeros(count) if signs is None else signs
    free: list[tuple[float | None, float | None]] = [(None, None)] * outputs
    closed: Callable[[float], tuple[float | None, float | None]]
    if parts == 1:
        closed = {0: (None, None), 1: (0.0, None), -1: (None, 0.0)}.__getitem__  # type: ignore[assignment]
        return [closed(int(sign)) for sign in given for _ in range(outputs)] + free
    positive = [(0.0, 0.0 if sign < 0 else None) for sign in given for _ in range(outputs)]
    negative = [(0.0, 0.0 if sign > 0 else None) for sign in given for _ in range(outputs)]
    return [*positive, *negative, *free]
