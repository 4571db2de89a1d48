"""The generator that suits the data: a few good settings of each, compared on rows that they did not see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from engine.data import Rows, Signature
from engine.score import error_of
from rules.generators.constraints import Constraints
from rules.generators.generate import generate, generators_for
from rules.generators.teacher import taught
from rules.ruleset import RuleSet

__all__ = ["TRIED", "best_genes", "last_of"]

MOST_ROWS = 12_000
SMALL_ROWS = 2_500  # up to here every comparison is made twice, with other folds
FOLDS = 4

TRIED: tuple[Mapping[str, Any], ...] = (
    {"generator": "score", "depth": 1, "ridge": 3.0},
    {"generator": "score", "depth": 1, "ridge": 3.0, "teach": 0.5},
    {"generator": "score", "depth": 2, "ridge": 3.0},
    {"generator": "score", "depth": 2, "ridge": 10.0, "teach": 0.5},
    {"generator": "score", "depth": 3, "ridge": 10.0},
    {"generator": "sum", "length": 3, "ridge": 3.0},
    {"generator": "tree", "depth": 5, "shrink": 10.0},
    {"generator": "set", "length": 4, "brevity": 0.5},
)


def best_genes(
    rows: Rows, signature: Signature, constraints: Constraints, *, sizes: Sequence[int], seed: int
) -> list[dict[str, Any]]:
    """Return, for each number of rules, the genes whose models err least on rows that they did not see.

    The error is the mean of 1 - accuracy and 1 - AUC, or the root mean square for values.

    Args:
        rows: Training rows.
        signature: Of the data.
        constraints: The user's.
        sizes: Numbers of rules that are allowed.
        seed: Of the folds and of everything in the generators.
    """
    tried = [genes for genes in TRIED if genes["generator"] in generators_for(signature.task)]
    errors = np.zeros((len(tried), len(sizes)))
    for train, valid in _folds(rows, seed):
        shown, unseen = rows.take(train), rows.take(valid)
        soft = taught(shown, signature, seed=seed)
        for number, genes in enumerate(tried):
            asked = {**genes, "rules": max(sizes)}
            path = list(generate(shown, signature, asked, constraints, seed=seed, soft=soft))
            for place, size in enumerate(sizes):
                fitting = [pair for pair in path if pair[0] <= size] or path[:1]
                errors[number, place] += _error(last_of(iter(fitting)), unseen, signature)
    return [{**tried[best], "rules": size} for best, size in zip(errors.argmin(axis=0), sizes, strict=True)]


def last_of(path: Iterator[tuple[int, RuleSet]]) -> RuleSet:
    """Return the largest model of a path."""
    found: RuleSet | None = None
    for _, model in path:
        found = model
    assert found is not None
    return found


def _error(model: RuleSet, rows: Rows, signature: Signature) -> float:
    values = model.values(rows.inputs())
    names: Sequence[str] = ("rmse",) if signature.task == "regression" else ("accuracy", "auc")
    return float(np.mean([error_of(values, rows, metric=name, task=signature.task) for name in names]))


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
