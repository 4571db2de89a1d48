"""Rows as small codes, and conditions as sets of codes: what every generator works on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import final

import numpy as np

from engine.data import Signature
from rules.atoms import Atom, Categories, Condition, Numbers

__all__ = ["MISSING", "OTHER", "Binned", "Box", "Column", "binned", "comparisons", "shortest_between"]

MISSING, OTHER = 255, 254  # codes of a missing value, and of a category that is rare or was never seen
MOST_BINS = 250
RARE_ROWS = 3  # a category with fewer rows is not named by a rule
EVERY = (1 << 256) - 1


@final
@dataclass(frozen=True, eq=False)
class Column:
    """One column and what its codes mean.

    Args:
        name: Of the column.
        place: In `x` for numbers, in `c` for categories.
        edges: Of numbers: code b stands for edges[b - 1] < value <= edges[b]; float32, ascending.
        values: Of categories: the text of each code; None for a column of numbers.
        has_missing: Whether a training row lacks the value.
        has_other: Whether a training row has a category that is too rare to be named.
    """

    name: str
    place: int
    edges: np.ndarray
    values: tuple[str, ...] | None
    has_missing: bool
    has_other: bool = False

    @property
    def is_numeric(self) -> bool:
        """Whether the column holds numbers."""
        return self.values is None

    @cached_property
    def universe(self) -> int:
        """The codes that there are, as bits."""
        known = len(self.edges) + 1 if self.values is None else len(self.values)
        other = 0 if self.values is None else 1 << OTHER
        return ((1 << known) - 1) | other | (1 << MISSING if self.has_missing else 0)

    def atom(self, bits: int, *, is_exact: bool = False) -> Atom:
        """Return the atom that holds for exactly these codes.

        Args:
            bits: The codes.
            is_exact: Whether to keep to the bits for categories never seen too; otherwise the shorter form is taken.
        """
        missing = bool(bits >> MISSING & 1)
        if self.values is not None:
            inside = [bool(bits >> code & 1) for code in range(len(self.values))]
            negated = bool(bits >> OTHER & 1) if self.has_other or is_exact else 2 * sum(inside) > len(inside)
            values = tuple(value for value, is_in in zip(self.values, inside, strict=True) if is_in != negated)
            return Categories(self.name, values, negated, missing)
        known = [code for code in range(len(self.edges) + 1) if bits >> code & 1]
        if not known:
            return Numbers(self.name, math.inf, -math.inf, missing=missing)
        low = float(self.edges[known[0] - 1]) if known[0] > 0 else -math.inf
        high = float(self.edges[known[-1]]) if known[-1] < len(self.edges) else math.inf
        return Numbers(self.name, low, high, low_open=low != -math.inf, missing=missing)


@final
@dataclass(frozen=True)
class Box:
    """A conjunction over codes: for some columns, the codes that are allowed, as bits; columns ascending.

    Example:
        >>> Box.of({0: 0b111}) & Box.of({0: 0b110, 2: 1})
        Box(sides=((0, 6), (2, 1)))
    """

    sides: tuple[tuple[int, int], ...] = ()

    @staticmethod
    def of(sides: Mapping[int, int]) -> Box:
        """Make a box from the allowed codes by column."""
        return Box(tuple(sorted(sides.items())))

    def __and__(self, other: Box) -> Box:
        sides = dict(self.sides)
        for column, bits in other.sides:
            sides[column] = sides.get(column, EVERY) & bits
        return Box.of(sides)

    def mask(self, codes: np.ndarray) -> np.ndarray:
        """Return which rows lie in the box: bool, shape (n_rows,), of codes of shape (n_columns, n_rows)."""
        found = np.ones(codes.shape[1], bool)
        for column, bits in self.sides:
            found &= _table(bits)[codes[column]]
        return found


@final
@dataclass(frozen=True, eq=False)
class Binned:
    """Rows as codes.

    Args:
        columns: What the codes mean.
        codes: uint8, shape (n_columns, n_rows).
    """

    columns: tuple[Column, ...]
    codes: np.ndarray

    def simplified(self, box: Box) -> Box | None:
        """Return the box without sides that every code satisfies; None where no code can satisfy one."""
        sides = {}
        for column, bits in box.sides:
            universe = self.columns[column].universe
            if not bits & universe:
                return None
            if bits & universe != universe:
                sides[column] = bits & universe
        return Box.of(sides)

    def condition(self, box: Box, *, is_exact: bool = False) -> Condition:
        """Return the box as a condition on the values themselves; `is_exact` as for `Column.atom`."""
        return Condition(tuple(self.columns[column].atom(bits, is_exact=is_exact) for column, bits in box.sides))

    def size(self, box: Box) -> int:
        """Return the number of comparisons: ends of intervals, categories that are named."""
        return sum(comparisons(self.columns[column].atom(bits)) for column, bits in box.sides)


def binned(
    inputs: Mapping[str, np.ndarray],
    signature: Signature,
    *,
    most_bins: int = MOST_BINS,
    without: Iterable[str] = (),
    thresholds: Mapping[str, Sequence[float]] | None = None,
) -> Binned:
    """Cut every column into codes.

    Args:
        inputs: `x`, `c` or both, as a model file takes them.
        signature: Of the data.
        most_bins: Most codes of a column of numbers, at most 250.
        without: Columns that no rule may use.
        thresholds: Where rules may cut a column of numbers, for columns that have such a list.
    """
    left_out, given = set(without), thresholds or {}
    columns: list[Column] = []
    codes: list[np.ndarray] = []
    for place, name in enumerate(signature.numeric_columns):
        if name not in left_out:
            values = np.asarray(inputs["x"][:, place], np.float32)
            is_missing = np.isnan(values)
            edges = np.unique(np.asarray(given[name], np.float32)) if name in given else _edges(values, most_bins)
            found = np.searchsorted(edges, values, side="left").astype(np.uint8)
            found[is_missing] = MISSING
            columns.append(Column(name, place, edges, None, bool(is_missing.any())))
            codes.append(found)
    for place, name in enumerate(signature.categorical_columns):
        if name not in left_out:
            texts, inverse, counts = np.unique(inputs["c"][:, place], return_inverse=True, return_counts=True)
            frequent = np.argsort(-counts, kind="stable")[:MOST_BINS]
            known = sorted(k for k in frequent if texts[k] != "" and counts[k] >= RARE_ROWS)
            lookup = np.full(len(texts), OTHER, np.uint8)
            lookup[known] = np.arange(len(known))
            lookup[texts == ""] = MISSING
            columns.append(
                Column(name, place, np.empty(0, np.float32), tuple(str(texts[k]) for k in known), "" in texts)
            )
            codes.append(lookup[inverse.reshape(-1)])
    n_rows = len(next(iter(inputs.values())))
    return Binned(tuple(columns), np.stack(codes) if codes else np.empty((0, n_rows), np.uint8))


def shortest_between(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the decimal with fewest digits in [low, high), for each pair: float32, shape (n,).

    A threshold there parts the two values, and is what a person would write.

    Example:
        >>> shortest_between(np.array([3, 0.1312], np.float32), np.array([4, 0.1791], np.float32)).tolist()
        [3.0, 0.15000000596046448]
    """
    low64, high64 = np.asarray(low, np.float64), np.asarray(high, np.float64)
    chosen = np.asarray(low, np.float32).copy()
    is_open = np.ones(len(chosen), bool)
    largest = float(np.abs(low64).max(initial=1.0))
    for digits in range(-math.ceil(math.log10(max(largest, 1.0))) - 1, 8):
        for unit in (10.0, 5.0, 1.0):
            step = unit * 10.0**-digits / 10.0
            with np.errstate(over="ignore"):
                guess = (np.ceil(low64 / step) * step).astype(np.float32)
            fits = is_open & (guess >= low) & (guess.astype(np.float64) < high64)
            chosen[fits] = guess[fits]
            is_open &= ~fits
        if not is_open.any():
            break
    return chosen


def comparisons(atom: Atom) -> int:
    """Return how many values an atom names: ends of an interval, categories; 1 where it asks for missing values alone.

    Example:
        >>> comparisons(Numbers("age", low=18, high=30)), comparisons(Categories("town", ("Ulm", "Bonn", "Kiel")))
        (2, 3)
    """
    if isinstance(atom, Categories):
        return max(1, len(atom.values))
    return max(1, int(atom.low != -math.inf) + int(atom.high != math.inf))


def _edges(values: np.ndarray, most_bins: int) -> np.ndarray:
    known = np.sort(values[~np.isnan(values)])
    distinct = known[np.flatnonzero(np.diff(known, prepend=np.nan) != 0)] if len(known) else known
    if len(distinct) > most_bins:
        places = np.linspace(0, len(known) - 1, most_bins + 1)[1:-1].astype(np.int64)
        ends = np.unique(np.searchsorted(distinct, known[places]))
        ends = ends[ends < len(distinct) - 1]
    else:
        ends = np.arange(len(distinct) - 1)
    return np.unique(shortest_between(distinct[ends], distinct[ends + 1])) if len(ends) else np.empty(0, np.float32)


@lru_cache(maxsize=100_000)
def _table(bits: int) -> np.ndarray:
    packed = np.frombuffer(bits.to_bytes(32, "little"), np.uint8)
    return np.unpackbits(packed, bitorder="little").astype(bool)
