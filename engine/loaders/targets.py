"""From target values to class indices with names, or to numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import pandas as pd

from engine.errors import DataError
from engine.loaders.columns import as_numbers, as_text, is_missing

__all__ = ["MAX_NUMERIC_CLASSES", "Target", "read_target"]

MAX_NUMERIC_CLASSES = 100


@final
@dataclass(frozen=True, eq=False)
class Target:
    """Class index, int64, or value, float64; and the names of the classes, none for regression."""

    y: np.ndarray
    classes: tuple[str, ...]

    @property
    def labels(self) -> np.ndarray | None:
        """Class indices, or None for regression."""
        return self.y if self.classes else None


def read_target(values: np.ndarray, *, task: str | None = None, where: str = "y") -> Target:
    """Decide between classification and regression, and name the classes.

    Numbers that are not whole, or more than 100 different ones, are values; everything else is classes, in the order
    of their numbers if all are numbers, otherwise of their names.

    Args:
        values: As read, shape (n_rows,).
        task: `classification` or `regression`, to overrule the values; or None.
        where: For messages.

    Raises:
        DataError: If values are missing, infinite, all the same, or text where numbers are needed.
    """
    series = pd.Series(values)
    numbers, other = as_numbers(series)
    is_numeric = not other.any()
    missing = is_missing(series) | (np.isnan(numbers) & ~other)
    if missing.any():
        raise DataError(f"{where} must have a target in every row, it is missing in {missing.sum()} of {len(series)}.")
    chosen = task or _suggested(numbers, is_numeric)
    if chosen == "regression":
        return _values(numbers, series[other], where)
    return _classes(as_text(series), is_numeric, where)


def _suggested(numbers: np.ndarray, is_numeric: bool) -> str:
    if not is_numeric:
        return "classification"
    distinct = np.unique(numbers)
    return (
        "regression"
        if len(distinct) > MAX_NUMERIC_CLASSES or (distinct != np.rint(distinct)).any()
        else "classification"
    )


def _values(numbers: np.ndarray, other: pd.Series, where: str) -> Target:
    if len(other):
        raise DataError(f"{where} must hold numbers for regression, got {str(other.iloc[0])!r}.")
    infinite = int(np.isinf(numbers).sum())
    if infinite:
        raise DataError(f"{where} must hold finite numbers, {infinite} of {len(numbers)} are infinite.")
    if np.ptp(numbers) == 0:
        raise DataError(f"{where} must hold at least two different numbers, all are {numbers[0]:g}.")
    return Target(numbers, ())


def _classes(text: np.ndarray, is_numeric: bool, where: str) -> Target:
    names, index = np.unique(text, return_inverse=True)
    if len(names) < 2:
        raise DataError(f"{where} must hold at least two classes, all rows are '{names[0]}'.")
    if len(names) > max(10, len(text) // 2):
        raise DataError(
            f"{where} must name classes that repeat, got {len(names)} different texts in {len(text)} rows; "
            "give another data.target, or data.task=regression for numbers."
        )
    order = np.argsort(names.astype(np.float64), kind="stable") if is_numeric else np.arange(len(names))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(names))
    return Target(rank[index].astype(np.int64), tuple(str(name) for name in names[order]))
