"""The generator that suits the data: a few good settings of each, compared on rows that they did not see."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from engine.data import Rows, Signature
from rules.generators.constraints import Constraints
from rules.generators.generate import generate, generators_for
from rules.generators.teacher import taught
from rules.ruleset import RuleSet

__all__ = ["TRIED", "best_genes", "last_of", "within"]

MOST_ROWS = 12_000
SMALL_ROWS = 2_500  # up to here every comparison is made twice, with other folds
FOLDS = 4
NEAR = (1.0, 0.85, 0.7)  # shares of a size whose models are judged together: one alone may be lucky on few rows
HALVINGS = (2, 4)  # after so many folds, or after the first of two, only the better half goes on

TRIED: tuple[Mapping[str, Any], ...] = (
    {"generator": "score", "depth": 1, "ridge": 3.0, "teach": 0.5},
    {"generator": "score", "depth": 1, "ridge": 3.0, "teach": 1.0},
    {"generator": "score", "depth": 2, "ridge": 10.0},
    {"generator": "score", "depth": 2, "ridge": 10.0, "teach": 0.5},
    {"generator": "score", "depth": 2, "ridge": 10.0, "teach": 1.0},
    {"generator": "score", "depth": 3, "ridge": 10.0},
    {"generator": "score", "depth": 3, "ridge": 10.0, "teach": 1.0},
    {"generator": "sum", "length": 3, "ridge": 3.0},
    {"generator": "sum", "length": 3, "ridge": 3.0, "teach": 0.5},
    {"generator": "sum", "length": 3, "ridge": 3.0, "teach": 1.0},
    {"generator": "tree", "depth": 5, "shrink": 10.0},
    {"generator": "set", "length": 4, "brevity": 0.5},
    {"generator": "set", "length": 4, "brevity": 0.5, "positive": "first"},
)


def best_genes(
    rows: Rows, signature: Signature, constraints: Constraints, *, sizes: Sequence[int], seed: int
) -> list[dict[str, Any]]:
    """Return, for each number of rules, the genes whose models err least on rows that they did not see.

    The error is the mean of 1 - accuracy and 1 - AUC, or the root mean square for values, over a model of that size and
    two a little smaller. Settings that are not among the better half for any size, after the first folds, are not tried
    on the others.

    Args:
        rows: Training rows.
        signature: Of the data.
        constraints: The user's.
        sizes: Numbers of rules that are allowed.
        seed: Of the folds and of everything in the generators.
    """
    is_binary = len(signature.classes) == 2
    served = generators_for(signature.task)
    tried = [genes for genes in TRIED if genes["generator"] in served and (is_binary or "positive" not in genes)]
    left = list(range(len(tried)))
    errors = np.zeros((len(tried), len(sizes)))
    folds = list(_folds(rows, seed))
    for done, (train, valid) in enumerate(folds):
        if done in (HALVINGS if len(folds) > max(HALVINGS) else (1,)):
            left = _better_half(errors, left)
        shown, unseen = rows.take(train), rows.take(valid)
        soft = taught(shown, signature, seed=seed)
        for number in left:
            asked = {**tried[number], "rules": max(sizes)}
            path = list(generate(shown, signature, asked, constraints, seed=seed, soft=soft))
            errors[number] += [_error_near(path, size, unseen, signature) for size in sizes]
    best = [min(left, key=lambda number: (errors[number, place], number)) for place in range(len(sizes))]
    return [{**tried[number], "rules": size} for number, size in zip(best, sizes, strict=True)]


def last_of(path: Iterator[tuple[int, RuleSet]]) -> RuleSet:
    """Return the largest model of a path."""
    found: RuleSet | None = None
    for _, model in path:
        found = model
    assert found is not None
    return found


def within(path: Sequence[tuple[int, RuleSet]], size: int) -> RuleSet:
    """Return the largest model of a path for which so many rules are enough; the smallest where there is none."""
    return next((model for limit, model in reversed(path) if limit <= size), path[0][1])


def _better_half(errors: np.ndarray, left: Sequence[int]) -> list[int]:
    """Return the settings that are among the better half for some size, in order."""
    count = math.ceil(len(left) / 2)
    ranked = np.array(left)[np.argsort(errors[left], axis=0, kind="stable")[:count]]
    return sorted(set(ranked.reshape(-1).tolist()))


def _error_near(path: Sequence[tuple[int, RuleSet]], size: int, rows: Rows, signature: Signature) -> float:
    models = [within(path, math.ceil(share * size)) for share in NEAR]
    return float(np.mean([_error(model, rows, signature) for model in models]))


def _error(model: RuleSet, rows: Rows, signature: Signature) -> float:
    values = model.values(rows.inputs()).astype(np.float64)
    weights = np.ones(len(rows)) if rows.weight is None else np.asarray(rows.weight, np.float64)
    y = np.asarray(rows.y)
    if signature.task == "regression":
        return float(np.sqrt(np.average((values[:, 0] - y) ** 2, weights=weights)))
    wrong = np.average(values.argmax(axis=1) != y, weights=weights)
    asked = range(1, 2) if values.shape[1] == 2 else range(values.shape[1])
    misranked = [_misranked(values[:, place], np.where(y == place, weights, 0.0), weights) for place in asked]
    known = [share for share in misranked if not np.isnan(share)] or [0.5]
    return (float(wrong) + float(np.mean(known))) / 2


def _misranked(scores: np.ndarray, yes: np.ndarray, weights: np.ndarray) -> float:
    """Return 1 - AUC; NaN where all rows are of one kind.

    Args:
        scores: float64, shape (n_rows,).
        yes: Weight of each row as a positive one, float64, shape (n_rows,).
        weights: Of the rows.
    """
    _, places = np.unique(scores, return_inverse=True)
    positive, every = np.bincount(places, yes), np.bincount(places, weights)
    negative = every - positive
    pairs = positive.sum() * negative.sum()
    below = np.cumsum(negative) - negative / 2  # of equal scores, half
    return 1 - float(positive @ below) / pairs if pairs > 0 else float("nan")


def _folds(rows: Rows, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield numbers of training and validation rows; classes evenly spread."""
    rng = np.random.default_rng(seed)
    count = min(len(rows), MOST_ROWS)
    y = np.asarray(rows.y)
    for _ in range(2 if count <= SMALL_ROWS else 1):
        drawn = rng.permutation(len(rows))[:count]
        drawn = drawn[np.argsort(y[drawn], kind="stable")]
        fold = (np.arange(count) + rng.integers(FOLDS)) % FOLDS
        for number in range(FOLDS if count <= SMALL_ROWS else 2):
            train, valid = np.sort(drawn[fold != number]), np.sort(drawn[fold == number])
            if len(train) and len(valid):
                yield train, valid
