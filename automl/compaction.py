"""Making trained trees small: short thresholds, fewer splits, leaves fitted anew, leaves on few levels."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy.sparse import csr_matrix

from automl.solver import fit_weights, while_asked
from automl.targets import Targets
from compression.trees.ensemble import Ensemble, Tree
from compression.trees.leaves import leaves_of

__all__ = ["leaf_numbers", "on_levels", "pruned", "refitted", "snapped", "used_columns", "with_columns"]

FINEST, COARSEST = -40, 40  # powers of two between which a short threshold is looked for
REFIT_STEPS = 40


def snapped(ensemble: Ensemble, x: np.ndarray, *, half: bool) -> Ensemble:
    """Move each threshold to the shortest number that divides the rows in the same way.

    The gap between the two nearest values of a column holds some number with few binary digits: it is exact in float16
    more often than not, and shared by many nodes.

    Args:
        ensemble: Trained.
        x: Training rows, shape (n_rows, n_features).
        half: Whether a number that still is not exact in float16 is rounded to float16, though a few rows change sides.
    """
    inner = [np.flatnonzero(~tree.is_leaf) for tree in ensemble.trees]
    feature = np.concatenate([tree.feature[own] for tree, own in zip(ensemble.trees, inner, strict=True)])
    threshold = np.concatenate([tree.threshold[own] for tree, own in zip(ensemble.trees, inner, strict=True)])
    short = threshold.copy()
    for column in np.unique(feature):
        values, own = x[:, column], feature == column
        distinct, place = np.unique(threshold[own], return_inverse=True)
        known = np.unique(values[np.isfinite(values)]).astype(np.float64)
        short[own] = _shortest(distinct.astype(np.float64), known)[place]
    if half:
        with np.errstate(over="ignore"):
            near = short.astype(np.float16).astype(np.float32)
        short = np.where(np.isfinite(near), near, short).astype(np.float32)
    trees, begin = [], 0
    for tree, own in zip(ensemble.trees, inner, strict=True):
        moved = tree.threshold.copy()
        moved[own] = short[begin : begin + len(own)]
        begin += len(own)
        trees.append(replace(tree, threshold=moved))
    return replace(ensemble, trees=trees)


def _shortest(thresholds: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the number of fewest digits in [largest value <= threshold, smallest value > threshold) for each."""
    places = np.searchsorted(values, thresholds, side="right")
    is_inside = (places > 0) & (places < len(values))
    low, high = values[np.maximum(places - 1, 0)], values[np.minimum(places, len(values) - 1)]
    best = thresholds.copy()
    open_ = is_inside & (low < high)
    for power in range(COARSEST, FINEST, -1):
        if not open_.any():
            break
        found = np.ceil(low * 2.0**-power) * 2.0**power
        fits = open_ & (found < high)
        best[fits] = found[fits]
        open_ &= ~fits
    rounded = best.astype(np.float32)
    is_same = ~is_inside | ((rounded.astype(np.float64) >= low) & (rounded.astype(np.float64) < high))
    return np.where(is_same, rounded, thresholds.astype(np.float32)).astype(np.float32)


def leaf_numbers(ensemble: Ensemble, x: np.ndarray) -> list[np.ndarray]:
    """Return for each tree the node in which each row ends, int, shape (n_rows,)."""
    rows = x.astype(np.float32)
    return [tree.leaves(rows) for tree in ensemble.trees]


def pruned(ensemble: Ensemble, ends: Sequence[np.ndarray], weight: np.ndarray, share: float) -> Ensemble:
    """Remove a share of all splits, always the one that changes the answers of the training rows least.

    Source: after Liu and Mazumder, ForestPrune, 2023, which removes whole levels; here single splits whose children are
    leaves, the merged leaf answers their weighted mean.

    Args:
        ensemble: Trained.
        ends: See `leaf_numbers`.
        weight: Of each row.
        share: Of the splits, in [0, 1).
    """
    values = [tree.value.copy() for tree in ensemble.trees]
    masses = [np.bincount(end, weight, len(tree.left)) for end, tree in zip(ends, ensemble.trees, strict=True)]
    lefts = [tree.left.copy() for tree in ensemble.trees]
    parents = []
    for tree in ensemble.trees:
        parent = np.full(len(tree.left), -1)
        inner = np.flatnonzero(~tree.is_leaf)
        parent[tree.left[inner]] = parent[tree.right[inner]] = inner
        parents.append(parent)

    def entry(number: int, node: int) -> tuple[float, int, int] | None:
        tree, left = ensemble.trees[number], lefts[number]
        one, two = int(left[node]), int(tree.right[node])
        if one < 0 or left[one] >= 0 or left[two] >= 0:
            return None
        first, second = masses[number][one], masses[number][two]
        away = float(((values[number][one] - values[number][two]) ** 2).sum())
        return first * second / max(first + second, 1e-12) * away, number, node

    queue = [
        found
        for number, tree in enumerate(ensemble.trees)
        for node in np.flatnonzero(~tree.is_leaf).tolist()
        if (found := entry(number, node)) is not None
    ]
    heapq.heapify(queue)
    for _ in range(int(share * ensemble.n_splits)):
        if not queue:
            break
        _, number, node = heapq.heappop(queue)
        tree, mass = ensemble.trees[number], masses[number]
        one, two = int(lefts[number][node]), int(tree.right[node])
        total = mass[one] + mass[two]
        part = mass[one] / total if total > 0 else 0.5
        values[number][node] = part * values[number][one] + (1 - part) * values[number][two]
        mass[node], lefts[number][node] = total, -1
        above = int(parents[number][node])
        found = entry(number, above) if above >= 0 else None
        if found is not None:
            heapq.heappush(queue, found)
    trees = [_cleaned(tree, left, value) for tree, left, value in zip(ensemble.trees, lefts, values, strict=True)]
    return replace(ensemble, trees=trees)


def refitted(
    ensemble: Ensemble,
    ends: Sequence[np.ndarray],
    targets: Targets,
    *,
    ridge: float,
    goes_on: Callable[[], bool] = lambda: True,
) -> Ensemble:
    """Fit the values of all leaves anew, together, near those they have.

    Source: after Ren et al., Global refinement of random forest, 2015, and Buschjaeger and Morik, Leaf refinement,
    2021; here with a ridge towards the trained values and by L-BFGS.

    Args:
        ensemble: Of boosted trees: one value a leaf, tree t for output t mod n_outputs.
        ends: See `leaf_numbers`.
        targets: Of the rows.
        ridge: See `fit_weights`.
        goes_on: Likewise.
    """
    starts = np.concatenate([[0], np.cumsum([int(tree.is_leaf.sum()) for tree in ensemble.trees])])
    count, rows = len(ensemble.trees), len(targets.y)
    outputs = ensemble.n_outputs
    columns = np.empty((rows, count), np.int64)
    for number, (tree, end) in enumerate(zip(ensemble.trees, ends, strict=True)):
        columns[:, number] = starts[number] + (np.cumsum(tree.is_leaf) - 1)[end]
    value = np.concatenate([tree.value[tree.is_leaf, 0] for tree in ensemble.trees])
    if outputs == 1:
        made = csr_matrix(
            (np.ones(rows * count), columns.ravel(), np.arange(0, rows * count + 1, count)), shape=(rows, len(value))
        )
        flat, base = fit_weights(
            made,
            targets.scores,
            targets.weight,
            targets.link,
            ridge=ridge,
            start=(value[:, None], np.array(ensemble.base, np.float64)),
            steps=REFIT_STEPS,
            goes_on=goes_on,
        )
        fitted = flat[:, 0]
    else:
        fitted, base = _refitted_classes(columns, value, ensemble, targets, ridge, goes_on)
    return _with_leaves(replace(ensemble, base=base), fitted)


def _refitted_classes(
    columns: np.ndarray,
    value: np.ndarray,
    ensemble: Ensemble,
    targets: Targets,
    ridge: float,
    goes_on: Callable[[], bool],
) -> tuple[np.ndarray, np.ndarray]:
    """Fit leaves that speak for one class each: a sparse matrix a class."""
    from scipy.optimize import minimize

    rows, outputs = len(targets.y), ensemble.n_outputs
    goal, weight = targets.goal, targets.weight[:, None]
    parts = []
    for output in range(outputs):
        own = columns[:, output::outputs]
        ends = np.arange(0, own.size + 1, own.shape[1])
        parts.append(csr_matrix((np.ones(own.size), own.ravel(), ends), shape=(rows, len(value))))
    base = np.array(ensemble.base, np.float64)

    def loss(now: np.ndarray) -> tuple[float, np.ndarray]:
        scores = np.stack([part @ now for part in parts], axis=1) + base
        top = scores.max(axis=1, keepdims=True)
        total = np.log(np.exp(scores - top).sum(axis=1, keepdims=True)) + top
        slope = weight * (np.exp(scores - total) - goal)
        away = now - value
        found = float((weight * goal * (total - scores)).sum()) + 0.5 * ridge * float(away @ away)
        return found, sum((part.T @ slope[:, n] for n, part in enumerate(parts)), ridge * away)

    limits = {"maxiter": REFIT_STEPS, "maxcor": 10}
    fitted = minimize(loss, value, jac=True, method="L-BFGS-B", callback=while_asked(goes_on), options=limits).x
    return fitted, base


def on_levels(ensemble: Ensemble, mode: str) -> Ensemble:
    """Return the ensemble with the values that its leaves have when they are written so."""
    values = np.concatenate([tree.value[tree.is_leaf] for tree in ensemble.trees])
    trees = np.repeat(np.arange(len(ensemble.trees)), [int(tree.is_leaf.sum()) for tree in ensemble.trees])
    return _with_leaves(ensemble, leaves_of(ensemble, values, trees, mode).values())


def used_columns(ensemble: Ensemble) -> np.ndarray:
    """Return the features that some split looks at, ascending."""
    found = [tree.feature[~tree.is_leaf] for tree in ensemble.trees]
    return np.unique(np.concatenate(found)).astype(np.int64)


def with_columns(ensemble: Ensemble, columns: np.ndarray) -> Ensemble:
    """Return the ensemble for rows that have only these features."""
    place = np.zeros(ensemble.n_features, np.int64)
    place[columns] = np.arange(len(columns))
    trees = [replace(tree, feature=np.where(tree.is_leaf, 0, place[tree.feature])) for tree in ensemble.trees]
    return replace(ensemble, trees=trees, n_features=len(columns))


def _with_leaves(ensemble: Ensemble, values: np.ndarray) -> Ensemble:
    """Return the ensemble with other leaf values, in order of the trees and their nodes."""
    flat = values.reshape(len(values), -1)
    trees, begin = [], 0
    for tree in ensemble.trees:
        count = int(tree.is_leaf.sum())
        value = np.zeros((len(tree.left), flat.shape[1]))
        value[tree.is_leaf] = flat[begin : begin + count]
        begin += count
        trees.append(replace(tree, value=value))
    return replace(ensemble, trees=trees)


def _cleaned(tree: Tree, left: np.ndarray, value: np.ndarray) -> Tree:
    """Return a tree without the nodes below those that have become leaves."""
    kept, waiting = [], [0]
    while waiting:
        node = waiting.pop()
        kept.append(node)
        if left[node] >= 0:
            waiting += [int(tree.right[node]), int(left[node])]
    order = np.array(kept)
    place = np.full(len(left), -1)
    place[order] = np.arange(len(order))
    is_leaf = left[order] < 0
    return Tree(
        tree.feature[order],
        tree.threshold[order],
        np.where(is_leaf, -1, place[left[order]]),
        np.where(is_leaf, -1, place[tree.right[order]]),
        tree.missing_left[order],
        value[order],
    )
