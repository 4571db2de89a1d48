"""Columns that say nothing or look suspicious: constants, copies, counters, names of rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from engine.loaders.values import Values

__all__ = ["constant_columns", "copied_columns", "identity_note", "shortened"]

SHOWN = 10
FEW_TEXTS = 100  # as many differ without looking like the names of rows
FEW_ROWS = 20


def shortened(names: Sequence[str]) -> str:
    """Return the first ten names, and how many more there are.

    Example:
        >>> shortened([f"x{number}" for number in range(100)])
        'x0, x1, x2, x3, x4, x5, x6, x7, x8, x9 and 90 more'
    """
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def constant_columns(columns: Mapping[str, np.ndarray]) -> list[str]:
    """Return the columns with one value in all rows; one that is sometimes missing says something."""
    return [name for name, column in columns.items() if len(column) and _is_constant(column)]


def copied_columns(columns: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Return the columns that equal an earlier one in every row, each with that one's name."""
    seen: dict[bytes, str] = {}
    copies = {}
    for name, column in columns.items():
        first = seen.setdefault(_digest(column), name)
        if first != name:
            copies[name] = first
    return copies


def identity_note(name: str, kind: str, values: Values, known: int) -> str:
    """Return what is suspicious of a column that tells rows apart, or nothing.

    Args:
        name: Of the column.
        kind: Of the column.
        values: Its values.
        known: Number of them that are not missing.
    """
    if kind == "category":
        distinct = len(values.words) - 1
        if distinct > FEW_TEXTS and distinct > 0.5 * known:
            return (
                f"Column {name} has {distinct} different texts in {known} rows; "
                f"data.drop={name} unless it repeats in new rows."
            )
    if kind == "number":
        numbers = values.numbers()[0]
        with np.errstate(invalid="ignore"):  # infinite ones are a problem of their own
            steps = np.diff(numbers)
        if len(numbers) > FEW_ROWS and bool((steps == 1).all() or (steps == -1).all()):
            return f"Column {name} counts the rows; data.drop={name} unless it is known of new rows."
    return ""


def _is_constant(column: np.ndarray) -> bool:
    first = column[0]
    return bool(first == first and (column == first).all())  # NaN alone differs from itself


def _digest(column: np.ndarray) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    if column.dtype == object:
        codes, words = pd.factorize(column)
        digest.update("\0".join(words).encode("utf-8", "replace"))
        column = codes
    digest.update(np.ascontiguousarray(column).tobytes())
    return digest.digest()
