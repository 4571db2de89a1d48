"""A smooth teacher: every column by itself, as a straight line and a few steps, and their sum."""

from __future__ import annotations

import numpy as np

from rules.generators.binned import MISSING, Binned
from rules.generators.refit import Kind, Patterns, fitted, probabilities

__all__ = ["additive_answers", "design"]

STEPS = 3
NAMED = 30  # categories of a column that count by themselves
RIDGE = 10.0
MOST_TERMS = 400


def additive_answers(
    terms: np.ndarray, targets: np.ndarray, weights: np.ndarray, asked: np.ndarray, *, kind: Kind
) -> np.ndarray:
    """Fit a sum of terms on some rows, and return what it says of others: float64, shape (n_asked, n_outputs).

    Args:
        terms: Of the training rows, float64, shape (n_rows, n_terms).
        targets: float64, shape (n_rows, n_outputs).
        weights: float64, shape (n_rows,).
        asked: Terms of the other rows, float64, shape (n_asked, n_terms).
        kind: Of the loss.
    """
    every = list(range(terms.shape[1]))
    rows = Patterns(terms, targets, weights, np.arange(len(terms)))
    _, made = fitted(rows, every, kind=kind, ridge=RIDGE, signs=np.zeros(len(every), np.int64))
    return probabilities(made.totals(asked), kind)


def design(data: Binned) -> np.ndarray:
    """Return the terms of the sum, each with mean 0: float64, shape (n_rows, n_terms).

    A column of numbers gives its ranks on one scale, and steps at its quartiles; one of categories gives its frequent
    values; both say whether the value is missing.
    """
    made = [
        term - term.mean()
        for column, codes in zip(data.columns, data.codes, strict=True)
        for term in (_numeric(codes) if column.is_numeric else _named(codes))
    ]
    return np.stack(made[:MOST_TERMS], axis=1) if made else np.zeros((data.codes.shape[1], 0))


def _numeric(codes: np.ndarray) -> list[np.ndarray]:
    is_missing = codes == MISSING
    known = codes[~is_missing].astype(np.float64)
    if not len(known):
        return []
    line = np.zeros(len(codes))
    line[~is_missing] = (known - known.mean()) / (known.std() or 1.0)
    places = np.unique(np.quantile(known, np.arange(1, STEPS + 1) / (STEPS + 1), method="nearest"))
    steps = [((codes > place) & ~is_missing).astype(np.float64) for place in places]
    gap = [is_missing.astype(np.float64)] if is_missing.any() else []
    return [line, *(step for step in steps if 0 < step.mean() < 1), *gap]


def _named(codes: np.ndarray) -> list[np.ndarray]:
    found, counts = np.unique(codes, return_counts=True)
    frequent = found[np.argsort(-counts, kind="stable")][:NAMED]
    return [(codes == code).astype(np.float64) for code in frequent]
