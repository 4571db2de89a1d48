"""What a column of a table is: number, category, boolean or date; and which inputs of a file it gives."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pandas as pd

from engine.loaders.dates import PARTS, parse_dates
from engine.loaders.values import Values, numbers_of_words

__all__ = ["KINDS", "Column", "has_padding", "kind_of"]

KINDS = ("number", "category", "boolean", "date")
_PADDED = re.compile(r"0\d")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ].*)?")


@final
@dataclass(frozen=True)
class Column:
    """How a column of a table becomes inputs of a file: the same when it is trained and when it predicts.

    Args:
        name: Of the column.
        kind: One of `KINDS`. Numbers, and booleans as 0 and 1, are columns of `x`; categories are columns of `c`; a
            date gives a column of `x` for each of its parts.
        missing_codes: Values that stand for missing, in their one text form.
        date_format: As `strptime` has it; empty for dates such as 2026-01-31 12:00.

    Example:
        >>> Column("born", "date").inputs[:3]
        ('born:days', 'born:year', 'born:month')
    """

    name: str
    kind: str
    missing_codes: tuple[str, ...] = ()
    date_format: str = ""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the columns of `x` or `c` that it gives."""
        return tuple(f"{self.name}:{part}" for part in PARTS) if self.kind == "date" else (self.name,)

    def to_json(self) -> dict[str, Any]:
        """Return the column as plain containers; what is not set is left out."""
        told: dict[str, Any] = {"name": self.name, "kind": self.kind}
        if self.missing_codes:
            told["missing_codes"] = list(self.missing_codes)
        return told | ({"date_format": self.date_format} if self.date_format else {})

    @staticmethod
    def from_json(entry: Mapping[str, Any]) -> Column:
        """Rebuild a column from `to_json`.

        Raises:
            ValueError: If it is no such mapping.
        """
        codes = entry.get("missing_codes", ())
        texts = (entry.get("name"), entry.get("kind"), entry.get("date_format", ""), *codes)
        if entry.get("kind") not in KINDS or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"a column must have a name and one of the kinds {', '.join(KINDS)}, got {entry!r:.200}")
        return Column(entry["name"], entry["kind"], tuple(codes), entry.get("date_format", ""))


def kind_of(values: Values) -> str | None:
    """Tell what a column holds, or None where every value is missing.

    The type of the column decides where it has one. Text is numbers where every value is one or a word for missing, and
    none has leading zeros; booleans where it says true and false; dates where every value looks like 2026-01-31 or
    2026-01-31 12:00; otherwise categories.

    Example:
        >>> columns = (["3", "?"], ["true", "FALSE"], ["2026-01-31"], ["007"], [None])
        >>> [kind_of(Values(pd.Series(column))) for column in columns]
        ['number', 'boolean', 'date', 'category', None]
    """
    typed = _kind_of_type(values.series.dtype)
    if typed == "number":
        return "number" if (~np.isnan(values.numbers()[0])).any() else None
    words = [word for word in values.words if word != ""]
    if not words or typed:
        return typed if words else None
    if all(isinstance(word, bool) or str(word).lower() in ("true", "false") for word in words):
        return "boolean"
    numbers, others = numbers_of_words(words)
    if not others and not np.isnan(numbers).all() and not has_padding(words):
        return "number"
    return "date" if _are_dates(words) else "category"


def has_padding(words: Sequence[Any]) -> bool:
    """Say whether a word has leading zeros, as codes have and numbers have not."""
    return any(isinstance(word, str) and _PADDED.match(word) for word in words)


def _kind_of_type(dtype: Any) -> str | None:
    """Return what the type of a column says by itself."""
    if isinstance(dtype, pd.CategoricalDtype):
        return "category"
    if pd.api.types.is_bool_dtype(dtype):
        return "boolean"
    if pd.api.types.is_datetime64_any_dtype(dtype) or isinstance(dtype, pd.PeriodDtype):
        return "date"
    return "number" if pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_timedelta64_dtype(dtype) else None


def _are_dates(words: Sequence[Any]) -> bool:
    looks = all(_DATE.fullmatch(word) if isinstance(word, str) else hasattr(word, "year") for word in words)
    return looks and not parse_dates(words, "").isna().any()
