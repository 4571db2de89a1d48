"""A few new rows, read cell by cell: the inputs that reading whole columns gives, in a fraction of the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pandas as pd

from engine.artifact import Artifact
from engine.loaders.columns import canonical_text
from engine.loaders.kinds import Column

__all__ = ["FEW_ROWS", "Cells"]

FEW_ROWS = 64  # up to which columns take longer than cells
LARGEST = 2**63  # of a whole number in a column
NAN = float("nan")


@final
@dataclass(frozen=True)
class Cells:
    """What is known of the columns of a table before any new row comes.

    Args:
        names: Of all columns of the table, in order.
        numbers: The columns of `x`: each with its place in the table, and with the numbers that stand for missing; of
            one that holds true and false, with None.
        texts: The columns of `c`: each with its place in the table, and with the texts that stand for missing.
    """

    names: tuple[str, ...]
    numbers: tuple[tuple[int, tuple[float, ...] | None], ...]
    texts: tuple[tuple[int, tuple[str, ...]], ...]

    @staticmethod
    def of(artifact: Artifact, names: Sequence[str]) -> Cells | None:
        """Return what is known of the columns that a file reads; None where that has to be told from whole columns.

        Args:
            artifact: With the card of the search that found it.
            names: Of all columns of the table, in order.
        """
        known = {column.name: column for column in artifact.columns}
        places = {name: place for place, name in enumerate(names)}
        wanted = [artifact.column_names("numeric"), artifact.column_names("categorical")]
        if len(places) < len(names) or not all(_is_plain(known.get(name), places) for part in wanted for name in part):
            return None
        numbers = tuple((places[name], _codes(known[name])) for name in wanted[0])
        return Cells(tuple(names), numbers, tuple((places[name], known[name].missing_codes) for name in wanted[1]))

    def read(self, rows: Sequence[Sequence[Any]]) -> dict[str, np.ndarray] | None:
        """Return the inputs of the file; None where a cell is not plainly a number, a text, a flag or missing.

        Args:
            rows: Each with a cell for every column of the table, as the user has them.
        """
        inputs: dict[str, np.ndarray] = {}
        if self.numbers:
            made = np.empty((len(rows), len(self.numbers)))
            for at, (place, codes) in enumerate(self.numbers):
                for number, row in enumerate(rows):
                    value = _number(row[place], codes)
                    if value is None:
                        return None
                    made[number, at] = value
            with np.errstate(over="ignore"):
                inputs["x"] = made.astype(np.float32)
        if self.texts:
            inputs["c"] = np.empty((len(rows), len(self.texts)), object)
            for at, (place, missing) in enumerate(self.texts):
                known: dict[Any, str] = {}  # what is equal has one text, as in a column
                for number, row in enumerate(rows):
                    text = _text(row[place], missing, known)
                    if text is None:
                        return None
                    inputs["c"][number, at] = text
        return inputs


def _is_plain(column: Column | None, places: dict[str, int]) -> bool:
    is_flag = column is not None and column.kind == "boolean"
    return (
        column is not None
        and column.kind != "date"
        and column.name in places
        and not (is_flag and column.missing_codes)
    )


def _codes(column: Column) -> tuple[float, ...] | None:
    """Return the numbers that stand for missing; None for true and false."""
    if column.kind == "boolean":
        return None
    return tuple(float(code) for code in column.missing_codes if _is_number(code))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(value: Any, codes: tuple[float, ...] | None) -> float | None:
    """Return the number of a cell, NaN for a missing one; None where it takes a closer look."""
    kind = type(value)
    if kind is float and value != value:
        return NAN
    if codes is None:
        return float(value) if kind is bool else NAN if _is_gap(value) else None
    if kind is float or (kind is int and -LARGEST <= value < LARGEST):
        return NAN if value in codes else float(value)
    return NAN if _is_gap(value) else None


def _text(value: Any, missing: tuple[str, ...], known: dict[Any, str]) -> str | None:
    """Return the canonical text of a cell, "" for a missing one; None where it takes a closer look."""
    kind = type(value)
    if kind not in (str, int, float, bool):
        return "" if _is_gap(value) else None
    if kind is float and value != value:
        return ""
    if value not in known:
        text = canonical_text(value)
        known[value] = "" if text in missing else text
    return known[value]


def _is_gap(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT
