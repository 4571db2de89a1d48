"""Single columns: text in its one canonical form, numbers, times, weights, groups."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["as_groups", "as_numbers", "as_text", "as_times", "as_weights", "canonical_text", "is_missing"]

_WHOLE = re.compile(r"[+-]?\d+\.0+")


def canonical_text(value: Any) -> str:
    """Return the one text form of a category: 1, 1.0, "1.0" and "1" are all "1"; codes such as "007" stay.

    Example:
        >>> canonical_text(3.0), canonical_text("3.0"), canonical_text("007"), canonical_text("n/a")
        ('3', '3', '007', 'n/a')
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, float | np.floating):
        value = int(value) if float(value).is_integer() else float(value)
    text = str(value)
    return str(int(text.split(".")[0])) if _WHOLE.fullmatch(text) else text


def is_missing(values: pd.Series) -> np.ndarray:
    """Say of each value whether it is missing: NaN, None or empty text."""
    missing = values.isna().to_numpy(dtype=bool)
    if pd.api.types.is_numeric_dtype(values.dtype):
        return missing
    return missing | (values == "").fillna(False).to_numpy(dtype=bool)


def as_text(values: pd.Series) -> np.ndarray:
    """Return the canonical text of each value, "" for missing: objects, shared by equal rows, shape (n_rows,)."""
    codes, distinct = pd.factorize(values)
    names = np.asarray([*map(canonical_text, distinct), ""], dtype=object)
    return names[codes]  # factorize marks missing values by -1, the last name


def as_numbers(values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return numbers with NaN for missing, float64, and which values are neither a number nor missing, bool."""
    if pd.api.types.is_bool_dtype(values.dtype):
        return np.full(len(values), np.nan), np.ones(len(values), dtype=bool)
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    other = np.isnan(numbers) & ~is_missing(values)
    if other.any():
        spelled = values[other].astype(str).str.strip().str.lower() == "nan"
        other[np.flatnonzero(other)[spelled.to_numpy(dtype=bool)]] = False
    return numbers, other


def as_times(values: pd.Series, where: str, problems: list[str]) -> np.ndarray:
    """Return numbers that order rows in time; dates only where their order of day and month is certain."""
    missing = int(is_missing(values).sum())
    numbers, other = as_numbers(values)
    if missing:
        problems.append(f"{where} must have a time in every row, it is missing in {missing} of {len(values)}.")
    if not other.any():
        return numbers
    parsed = pd.to_datetime(values.astype(object), format="ISO8601", errors="coerce", utc=True)
    unread = parsed.isna().to_numpy() & ~is_missing(values)
    if unread.any():
        example = values[unread].iloc[0]
        problems.append(f"{where} must hold numbers or dates such as 2026-01-31 12:00, got {str(example)!r}.")
    return parsed.to_numpy(dtype="datetime64[ns]").astype(np.int64)


def as_weights(values: pd.Series, where: str, problems: list[str]) -> np.ndarray:
    """Return weights; they must be finite, not negative, and not all zero."""
    numbers, _ = as_numbers(values)
    wrong = ~np.isfinite(numbers) | (numbers < 0)
    if wrong.any():
        example = values[wrong].iloc[0]
        problems.append(f"{where} must hold finite numbers >= 0, got {example!r} and {int(wrong.sum()) - 1} more such.")
    elif not numbers.any():
        problems.append(f"{where} must have a weight above 0 somewhere, all are 0.")
    return numbers


def as_groups(values: pd.Series, where: str, problems: list[str]) -> np.ndarray:
    """Return the number of each row's group, int64."""
    missing = int(is_missing(values).sum())
    if missing:
        problems.append(f"{where} must name a group in every row, it is missing in {missing} of {len(values)}.")
    return np.unique(as_text(values), return_inverse=True)[1].astype(np.int64)
