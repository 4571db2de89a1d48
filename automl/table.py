"""A data set as the models of tables take it: numbers, and categories as places in a vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import final

import numpy as np

from compression.tables import TableColumns
from engine.data import Dataset, Rows, Signature

__all__ = ["Columns", "Table", "columns_of", "table_of"]

UNKNOWN = -1


@final
@dataclass(frozen=True, eq=False)
class Columns:
    """Inputs of some rows.

    Args:
        x: Numbers, float32, shape (n_rows, n_numeric); NaN for missing.
        codes: Places in the vocabularies, int32, shape (n_rows, n_categorical); -1 for what is in none.
    """

    x: np.ndarray
    codes: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: np.ndarray) -> Columns:
        """Return the rows with these numbers, in this order."""
        return Columns(self.x[index], self.codes[index])


@final
@dataclass(frozen=True, eq=False)
class Table:
    """All rows of a data set.

    Args:
        columns: Inputs.
        vocabularies: Of each categorical column, its texts in order; "" is missing.
        y: Class index, int64, or value, float64, shape (n_rows,).
        weight: Of each row, float64, shape (n_rows,).
        signature: Of the data.
        has_missing: Whether a number is missing in a column, bool, shape (n_numeric,).
    """

    columns: Columns
    vocabularies: tuple[tuple[str, ...], ...]
    y: np.ndarray
    weight: np.ndarray
    signature: Signature
    has_missing: np.ndarray

    @property
    def frame(self) -> TableColumns:
        """The columns as the writer of files takes them: numbers first, then categories."""
        numeric, categorical = self.signature.numeric_columns, self.signature.categorical_columns
        kinds = ("number",) * len(numeric) + ("text",) * len(categorical)
        return TableColumns(numeric + categorical, kinds, True)

    def read(self, rows: Rows) -> Columns:
        """Return the inputs of rows in the vocabularies of this table."""
        return columns_of(rows, self.vocabularies)


@lru_cache(maxsize=2)
def table_of(data: Dataset) -> Table:
    """Return the rows of a data set, read and encoded once a process."""
    rows = data.rows
    vocabularies: tuple[tuple[str, ...], ...] = ()
    if rows.c is not None:
        vocabularies = tuple(
            tuple(np.unique(np.asarray(rows.c[:, place]).astype(str)).tolist()) for place in range(rows.c.shape[1])
        )
    columns = columns_of(rows, vocabularies)
    weight = np.ones(len(rows)) if rows.weight is None else np.asarray(rows.weight, np.float64)
    y = np.asarray(rows.y, np.int64 if data.signature.task == "classification" else np.float64)
    return Table(columns, vocabularies, y, weight, data.signature, np.isnan(columns.x).any(axis=0))


def columns_of(rows: Rows, vocabularies: Sequence[Sequence[str]]) -> Columns:
    """Return the inputs of rows.

    Args:
        rows: With `x`, `c` or both.
        vocabularies: Of each categorical column, its texts in order.
    """
    x = np.zeros((len(rows), 0), np.float32) if rows.x is None else np.asarray(rows.x, np.float32)
    codes = np.full((len(rows), len(vocabularies)), UNKNOWN, np.int32)
    for place, vocabulary in enumerate(vocabularies):
        texts, known = np.asarray(rows.c[:, place]).astype(str), np.asarray(vocabulary)  # type: ignore[index]
        distinct, inverse = np.unique(texts, return_inverse=True)
        found = np.minimum(np.searchsorted(known, distinct), len(known) - 1)
        codes[:, place] = np.where(known[found] == distinct, found, UNKNOWN)[inverse]
    return Columns(x, codes)
