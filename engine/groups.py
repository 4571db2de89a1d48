"""How a model treats groups of people: error and rates for each value of a column that is no input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from engine.data import Rows
from engine.intervals import wilson
from engine.threshold import Decision

__all__ = ["group_labels", "group_rates", "group_report", "group_values"]

MAX_GROUPS = 10  # of a column of numbers; more are cut into quarters
MAX_SHOWN = 50


def group_report(
    outputs: np.ndarray, rows: Rows, protected: Mapping[str, np.ndarray], decision: Decision, classes: tuple[str, ...]
) -> dict[str, list[dict[str, Any]]]:
    """Return the figures of each group of each protected column.

    Args:
        outputs: Of a model on these rows, shape (n_rows, n_outputs).
        rows: With targets.
        protected: Text of each column, by name, shape (n_rows,).
        decision: How labels are answered.
        classes: Names; none for regression.
    """
    y = np.asarray(rows.y)
    if not classes:
        answered = outputs[:, 0].astype(np.float64)
        return {name: group_values(group_labels(texts), y, answered) for name, texts in protected.items()}
    labels = decision.labels(outputs)
    return {name: group_rates(group_labels(texts), y, labels, classes) for name, texts in protected.items()}


def group_labels(texts: np.ndarray) -> np.ndarray:
    """Return the group of each row: its text; a range where there are more than ten different numbers.

    Args:
        texts: Values of a column as text, "" for missing, shape (n_rows,).

    Example:
        >>> group_labels(np.array([str(age) for age in range(20, 60)], dtype=object))[0]
        '20 to 29'
    """
    texts = np.where(texts == "", "missing", texts)
    numbers = pd.to_numeric(pd.Series(texts), errors="coerce").to_numpy(dtype=np.float64)
    known = numbers[~np.isnan(numbers)]
    if len(np.unique(known)) <= MAX_GROUPS or np.isnan(numbers).sum() > (texts == "missing").sum():
        return np.asarray(texts, dtype=object)
    edges = np.unique(np.quantile(known, [0.25, 0.5, 0.75]))
    place = np.searchsorted(edges, numbers, side="right")
    named = np.asarray(texts, dtype=object)
    for number in range(len(edges) + 1):
        inside = (place == number) & ~np.isnan(numbers)
        if inside.any():
            named[inside] = f"{numbers[inside].min():g} to {numbers[inside].max():g}"
    return named


def group_rates(
    labels: np.ndarray, y: np.ndarray, answered: np.ndarray, classes: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Return rows, error and rates of each group, the largest group first.

    Args:
        labels: Group of each row, shape (n_rows,).
        y: True class indices.
        answered: Class indices that the model answers.
        classes: Names; of two, the last one is the positive one.

    Returns:
        For each group `group`, `rows`, `error` with its 95 % Wilson interval `low` and `high`; of two classes also
        `positive_rate` (share that is answered positive), `true_positive_rate` and `false_positive_rate`, None where a
        group has no such rows.
    """
    found = []
    for group, inside in _members(labels):
        true, told = y[inside], answered[inside]
        wrong = int((true != told).sum())
        low, high = wilson(wrong, len(true))
        entry: dict[str, Any] = {
            "group": group,
            "rows": len(true),
            "error": wrong / len(true),
            "low": low,
            "high": high,
        }
        if len(classes) == 2:
            entry["positive_rate"] = float((told == 1).mean())
            entry["true_positive_rate"] = float((told[true == 1] == 1).mean()) if (true == 1).any() else None
            entry["false_positive_rate"] = float((told[true == 0] == 1).mean()) if (true == 0).any() else None
        found.append(entry)
    return found


def group_values(labels: np.ndarray, y: np.ndarray, answered: np.ndarray) -> list[dict[str, Any]]:
    """Return `group`, `rows`, `rmse`, `mae` and `bias` (mean of answer minus truth) of each group, for regression."""
    found = []
    for group, inside in _members(labels):
        residual = answered[inside] - y[inside]
        found.append(
            {
                "group": group,
                "rows": len(residual),
                "rmse": float(np.sqrt((residual**2).mean())),
                "mae": float(np.abs(residual).mean()),
                "bias": float(residual.mean()),
            }
        )
    return found


def _members(labels: np.ndarray) -> list[tuple[str, np.ndarray]]:
    names, place, counts = np.unique(labels.astype(str), return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MAX_SHOWN]
    return [(str(names[number]), place == number) for number in order]
