"""Training oblivious trees: gradient boosting in which all nodes of a level ask the same question."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np

from automl.solver import answers

__all__ = ["Grown", "grow"]

TINY = 1e-6
ASKED_EVERY = 4


@final
@dataclass(frozen=True, eq=False)
class Grown:
    """Trained oblivious trees, before rounding.

    Args:
        features: int, shape (n_trees, depth).
        edges: float32, shape (n_trees, depth); infinite where nothing was left to ask.
        values: float64, shape (n_trees, 2^depth, n_scores).
        base: shape (n_scores,).
    """

    features: np.ndarray
    edges: np.ndarray
    values: np.ndarray
    base: np.ndarray


def grow(
    x: np.ndarray,
    goal: np.ndarray,
    weight: np.ndarray,
    link: str,
    edges: list[np.ndarray],
    *,
    trees: int,
    depth: int,
    rate: float,
    ridge: float,
    columns: float,
    rng: np.random.Generator,
    goes_on: Callable[[], bool],
) -> Grown:
    """Train by Newton steps on histograms.

    Source: Prokhorenkova et al., CatBoost, 2018 (symmetric trees); here plain boosting, without its ordering.

    Args:
        x: float32, shape (n_rows, n_features); NaN counts as smaller than every edge.
        goal: What scores shall reach through the link, shape (n_rows, n_scores).
        weight: Of each row.
        link: See `automl.solver.answers`.
        edges: Of each feature, ascending, float32: the comparisons there are.
        trees: How many.
        depth: Comparisons of each.
        rate: Share of each Newton step that is taken.
        ridge: Added to the second derivatives of each leaf.
        columns: Share of the features that each tree may ask.
        rng: Draws them.
        goes_on: Asked now and then; False ends the training.
    """
    usable = [feature for feature, known in enumerate(edges) if len(known)]
    bins = {feature: np.searchsorted(edges[feature], _filled(x[:, feature]), side="left") for feature in usable}
    n_scores = goal.shape[1]
    base = _base(goal, weight, link)
    scores = np.tile(base, (len(x), 1))
    found_features, found_edges, found_values = [], [], []
    for number in range(trees):
        if number % ASKED_EVERY == ASKED_EVERY - 1 and not goes_on():
            break
        slope, curve = _derivatives(scores, goal, weight, link)
        leaf = np.zeros(len(x), np.int64)
        asked, limits = np.zeros(depth, np.int64), np.full(depth, np.inf, np.float32)
        allowed = sorted(rng.permutation(usable)[: max(1, round(columns * len(usable)))].tolist())
        for level in range(depth):
            best = _best_split(leaf, 1 << level, allowed, bins, edges, slope, curve, ridge)
            if best is None:
                break
            asked[level], place = best
            limits[level] = edges[asked[level]][place]
            leaf += (bins[int(asked[level])] > place).astype(np.int64) << level
        values = _leaf_values(leaf, 1 << depth, slope, curve, ridge, rate)
        scores += values[leaf]
        found_features.append(asked)
        found_edges.append(limits)
        found_values.append(values)
    shape = (len(found_values), 1 << depth, n_scores)
    return Grown(np.stack(found_features), np.stack(found_edges), np.stack(found_values).reshape(shape), base)


def _best_split(
    leaf: np.ndarray,
    n_leaves: int,
    allowed: list[int],
    bins: dict[int, np.ndarray],
    edges: list[np.ndarray],
    slope: np.ndarray,
    curve: np.ndarray,
    ridge: float,
) -> tuple[int, int] | None:
    """Return the feature and the number of its edge with the largest gain over all leaves; None if there is none."""
    best, chosen = TINY, None
    for feature in allowed:
        size = len(edges[feature]) + 1
        place = leaf * size + bins[feature]
        gain = np.zeros(size - 1)
        for output in range(slope.shape[1]):
            first = np.bincount(place, slope[:, output], n_leaves * size).reshape(n_leaves, size)
            second = np.bincount(place, curve[:, output], n_leaves * size).reshape(n_leaves, size)
            left, left_curve = first.cumsum(axis=1), second.cumsum(axis=1)
            whole, whole_curve = left[:, -1:], left_curve[:, -1:]
            left, left_curve = left[:, :-1], left_curve[:, :-1]
            right, right_curve = whole - left, whole_curve - left_curve
            parts = left**2 / (left_curve + ridge) + right**2 / (right_curve + ridge) - whole**2 / (whole_curve + ridge)
            gain += parts.sum(axis=0)
        at = int(gain.argmax())
        if gain[at] > best:
            best, chosen = float(gain[at]), (feature, at)
    return chosen


def _leaf_values(
    leaf: np.ndarray, count: int, slope: np.ndarray, curve: np.ndarray, ridge: float, rate: float
) -> np.ndarray:
    first = np.stack([np.bincount(leaf, column, count) for column in slope.T], axis=1)
    second = np.stack([np.bincount(leaf, column, count) for column in curve.T], axis=1)
    return np.asarray(-rate * first / (second + ridge))


def _derivatives(scores: np.ndarray, goal: np.ndarray, weight: np.ndarray, link: str) -> tuple[np.ndarray, np.ndarray]:
    if link == "identity":
        return weight[:, None] * (scores - goal), np.repeat(weight[:, None], scores.shape[1], axis=1)
    found = answers(scores, link)[:, -scores.shape[1] :]
    return weight[:, None] * (found - goal), weight[:, None] * np.maximum(found * (1 - found), TINY)


def _base(goal: np.ndarray, weight: np.ndarray, link: str) -> np.ndarray:
    mean = np.average(goal, axis=0, weights=weight)
    if link == "identity":
        return np.asarray(mean)
    mean = np.clip(mean, 1e-4, 1 - 1e-4)
    return np.asarray(np.log(mean / (1 - mean)) if link == "sigmoid" else np.log(mean))


def _filled(values: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values), -np.inf, values)
