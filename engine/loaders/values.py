"""The values of one column, read as numbers, booleans, dates or text; what is none of them is told by an example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
import pandas as pd

from engine.loaders.columns import canonical_text
from engine.loaders.dates import PARTS, date_parts, parse_dates

__all__ = ["MISSING_WORDS", "Values", "numbers_of_words"]

# What people write where a number is missing; among categories these are words like any other.
MISSING_WORDS = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "nat", "null", "none", "nil", "?", "-", "."})
TRUE = frozenset({"true", "t", "yes", "y", "on", "1"})
FALSE = frozenset({"false", "f", "no", "n", "off", "0"})


@final
@dataclass(frozen=True, eq=False)
class Values:
    """A column, and its distinct values where they are asked for.

    Args:
        series: As it came: text from a csv file, anything from a DataFrame.
        missing_codes: Values that stand for missing, in their one text form.
    """

    series: pd.Series
    missing_codes: tuple[str, ...] = ()

    @cached_property
    def _distinct(self) -> tuple[np.ndarray, list[Any]]:
        codes, distinct = pd.factorize(self.series)
        words = distinct.tolist()
        if self.missing_codes:
            words = ["" if self._is_code(word) else word for word in words]
        return codes, [*words, ""]  # factorize marks missing values by -1, the last word

    @cached_property
    def coded(self) -> int:
        """How many values stand for missing by `missing_codes`."""
        if not self.missing_codes:
            return 0
        counts = self.series.value_counts(dropna=True)
        return sum(int(counts.iloc[n]) for n, word in enumerate(counts.index) if self._is_code(word))

    def _is_code(self, word: Any) -> bool:
        return canonical_text(word) in self.missing_codes

    @property
    def codes(self) -> np.ndarray:
        """Place of each value in `words`, int64, shape (n_rows,)."""
        return self._distinct[0]

    @property
    def words(self) -> list[Any]:
        """Distinct values as they came, "" for missing."""
        return self._distinct[1]

    def numbers(self) -> tuple[np.ndarray, Any]:
        """Return numbers, float64, NaN for missing (`MISSING_WORDS` too), and an example of anything else, or None."""
        series = self.series
        if pd.api.types.is_timedelta64_dtype(series.dtype):
            series = series.dt.total_seconds()
        if pd.api.types.is_numeric_dtype(series.dtype) and not isinstance(series.dtype, pd.CategoricalDtype):
            numbers = series.to_numpy(dtype=np.float64, na_value=np.nan).copy()
            codes = [code for code in map(_as_number, self.missing_codes) if code is not None]
            if codes:
                numbers[np.isin(numbers, codes)] = np.nan
            return numbers, None
        numbers, others = numbers_of_words(self.words)
        return numbers[self.codes], others[0] if others else None

    def booleans(self) -> tuple[np.ndarray, Any]:
        """Return 1, 0 and NaN, float64, for words such as true and no, and an example of anything else, or None."""
        numbers, others = np.full(len(self.words), np.nan), []
        for place, word in enumerate(self.words):
            text = canonical_text(word).strip().lower()
            if text in TRUE or text in FALSE:
                numbers[place] = text in TRUE
            elif text not in MISSING_WORDS:
                others.append(word)
        return numbers[self.codes], others[0] if others else None

    def dates(self, date_format: str) -> tuple[dict[str, np.ndarray], Any]:
        """Return the parts of dates, float64, NaN for missing; and an example of what is no date, or None."""
        words = self.words
        times = parse_dates([None if _is_missing_word(word) else word for word in words], date_format)
        others = [word for word, lost in zip(words, times.isna(), strict=True) if lost and not _is_missing_word(word)]
        parts = date_parts(times)
        return {name: parts[name][self.codes] for name in PARTS}, others[0] if others else None

    def texts(self) -> np.ndarray:
        """Return the canonical text of each value, "" for missing: objects, shared by equal rows, shape (n_rows,)."""
        words = np.asarray(list(map(canonical_text, self.words)), dtype=object)
        return np.asarray(words[self.codes])


def numbers_of_words(words: Sequence[Any]) -> tuple[np.ndarray, list[Any]]:
    """Return the number of each word, float64, NaN where it is none; and the words that are neither number nor missing.

    Example:
        >>> numbers_of_words(["3", "?", "many"])
        (array([ 3., nan, nan]), ['many'])
    """
    numbers = pd.to_numeric(pd.Series(words, dtype=object), errors="coerce").to_numpy(dtype=np.float64, copy=True)
    unread = np.flatnonzero(np.isnan(numbers)).tolist()
    return numbers, [words[place] for place in unread if not _is_missing_word(words[place])]


def _is_missing_word(word: Any) -> bool:
    return isinstance(word, str) and word.strip().lower() in MISSING_WORDS


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
