"""Atoms: what a rule asks of one column, as the set of values that satisfy it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import numpy as np

from engine.errors import ArtifactError

__all__ = ["Atom", "Categories", "Condition", "Numbers", "atom_from_json", "single"]


@lru_cache(maxsize=100_000)
def single(value: float) -> float:
    """Return the shortest decimal that is the same float32: what a threshold is, and how it is written.

    Example:
        >>> single(0.1000000001), single(7)
        (0.1, 7.0)
    """
    with np.errstate(over="ignore"):
        return float(str(np.float32(value))) + 0.0  # + 0.0: one zero


@final
@dataclass(frozen=True)
class Numbers:
    """A column of numbers lies in an interval. Thresholds are float32 numbers, as the rows are.

    Args:
        column: Name of a numeric column.
        low: Lower end; -inf for none.
        high: Upper end; inf for none. Where no number can satisfy, the interval becomes (inf, -inf).
        low_open: Whether the lower end itself is outside.
        high_open: Likewise the upper end.
        missing: Whether a missing value (NaN) satisfies.

    Raises:
        ArtifactError: If an end is NaN.

    Example:
        >>> Numbers("age", low=18, high=30, high_open=True).holds(np.array([18, 30, np.nan], np.float32))
        array([ True, False, False])
    """

    column: str
    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False
    missing: bool = False

    def __post_init__(self) -> None:
        if math.isnan(self.low) or math.isnan(self.high):
            raise ArtifactError(f"The ends of the interval of column {self.column} must be numbers, got NaN.")
        low, high = single(self.low), single(self.high)
        is_void = low > high or (low == high and (self.low_open or self.high_open))
        object.__setattr__(self, "low", math.inf if is_void else low)
        object.__setattr__(self, "high", -math.inf if is_void else high)
        object.__setattr__(self, "low_open", self.low_open and not is_void)
        object.__setattr__(self, "high_open", self.high_open and not is_void)

    @property
    def is_void(self) -> bool:
        """Whether no number satisfies; a missing value may."""
        return self.low > self.high

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Return which values satisfy the atom: bool, shape (n,), of float32 values with NaN for missing."""
        values = np.asarray(values, np.float32)
        low, high = np.float32(self.low), np.float32(self.high)
        above = values > low if self.low_open else values >= low
        below = values < high if self.high_open else values <= high
        inside: np.ndarray = above & below
        return inside | np.isnan(values) if self.missing else inside

    def to_json(self) -> dict[str, Any]:
        """Return the atom as `{"column": ..., ">=": ..., "<": ..., "missing": ...}`."""
        made: dict[str, Any] = {"column": self.column}
        if self.is_void:
            return made | ({"missing": True} if self.missing else {"<": "-inf"})
        if self.low != -math.inf or self.low_open:
            made[">" if self.low_open else ">="] = _written(self.low)
        if self.high != math.inf or self.high_open:
            made["<" if self.high_open else "<="] = _written(self.high)
        if len(made) == 1:
            return made | ({">=": "-inf", "missing": True} if self.missing else {"missing": False})
        return made | ({"missing": True} if self.missing else {})


@final
@dataclass(frozen=True)
class Categories:
    """A column of categories has one of these values, or none of them.

    Args:
        column: Name of a categorical column.
        values: Canonical texts, kept sorted and distinct; never the empty text, which is a missing value.
        negated: Whether every other value satisfies instead, those never seen before included.
        missing: Whether a missing value (the empty text) satisfies.

    Raises:
        ArtifactError: If a value is the empty text.

    Example:
        >>> Categories("town", ("Ulm", "Bonn")).holds(np.array(["Ulm", "Kiel", ""]))
        array([ True, False, False])
    """

    column: str
    values: tuple[str, ...] = ()
    negated: bool = False
    missing: bool = False

    def __post_init__(self) -> None:
        if "" in self.values:
            raise ArtifactError(f"The empty text is a missing value of column {self.column}: use missing=True for it.")
        object.__setattr__(self, "values", tuple(sorted(set(map(str, self.values)))))

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Return which values satisfy the atom: bool, shape (n,), of texts with "" for missing."""
        values = np.asarray(values, str)
        found: np.ndarray = np.isin(values, np.array(self.values, str)) if self.values else np.zeros(len(values), bool)
        if self.negated:
            found = ~found & (values != "")
        return found | (values == "") if self.missing else found

    def to_json(self) -> dict[str, Any]:
        """Return the atom as `{"column": ..., "in": [...], "missing": ...}`, or with `not_in`."""
        made: dict[str, Any] = {"column": self.column}
        if not self.values and self.negated != self.missing:
            return made | {"missing": self.missing}
        made["not_in" if self.negated else "in"] = list(self.values)
        return made | ({"missing": True} if self.missing else {})


Atom = Numbers | Categories


@final
@dataclass(frozen=True)
class Condition:
    """A conjunction of atoms: a box in the space of rows. Without atoms it holds for every row.

    Example:
        >>> adult = Condition((Numbers("age", low=18), Categories("town", ("Ulm",))))
        >>> len(adult)
        2
    """

    atoms: tuple[Atom, ...] = ()

    def __len__(self) -> int:
        return len(self.atoms)


def atom_from_json(entry: Mapping[str, Any], categorical: Iterable[str]) -> Atom:
    """Rebuild an atom from `to_json`.

    Args:
        entry: The atom, of the form that the JSON Schema asks for.
        categorical: Names of the categorical columns: what kind an atom is about missing values alone.
    """
    column, missing = entry["column"], bool(entry.get("missing", False))
    if column in categorical:
        if "in" not in entry and "not_in" not in entry:
            return Categories(column, negated=not missing, missing=missing)
        values: Sequence[str] = entry.get("in", entry.get("not_in", ()))
        return Categories(column, tuple(values), "not_in" in entry, missing)
    if missing and len(entry) == 2:
        return Numbers(column, math.inf, -math.inf, missing=True)
    low, high = entry.get(">", entry.get(">=", -math.inf)), entry.get("<", entry.get("<=", math.inf))
    return Numbers(column, float(low), float(high), ">" in entry, "<" in entry, missing)


def _written(value: float) -> float | int | str:
    """Return a number as JSON has it: whole ones without a point, infinities as text."""
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return int(value) if value == int(value) and abs(value) < 2**53 else value
