"""Writing the comparisons of inner nodes: columns and thresholds shared by all nodes, looked up by small numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np

from compression.graph import Graph
from compression.trees.integers import Numbers
from compression.trees.leaves import write_floats

__all__ = ["Splits", "splits_of"]

GAP = 1.25 * 2.0**-24


@final
@dataclass(frozen=True, eq=False)
class Splits:
    """Comparisons as they will be written, entry by entry in the order of a layout.

    Kinds: `grid`, every used column with every threshold, an entry is a place in it; `pairs`, only those that occur;
    `direct`, column and threshold of each entry by themselves.

    Args:
        kind: Of these.
        used: Columns of the rows that are looked at, int, shape (n_used,); from n_features on those of the second set
            (see `compression.trees.layouts.Missing`).
        n_features: Columns of the rows.
        table: Different thresholds, NaN first, shape (n_thresholds,); for `direct` the threshold of each entry.
        n_half: How many of the table are exact in float16; they come first.
        pairs: Steps between the sorted places in the grid that occur, place 0 among them; only for `pairs`.
        codes: Of each entry: place in the grid, number of the pair, or number of the used column.
        is_opposite: Whether comparisons with the second set are x > threshold; otherwise they hold for NaN too.
    """

    kind: str
    used: np.ndarray
    n_features: int
    table: np.ndarray
    n_half: int
    pairs: Numbers
    codes: Numbers
    is_opposite: bool

    @property
    def n_comparisons(self) -> int:
        """How many comparisons there are to make for one row to know all of them."""
        if self.kind == "grid":
            return len(self.used) * len(self.table)
        return len((self.pairs if self.kind == "pairs" else self.codes).values)

    def write_all(self, graph: Graph, rows: str, operator: str, *, deep: bool) -> tuple[str, str | None]:
        """Write all comparisons of a row.

        Args:
            graph: Receives constants and nodes.
            rows: Name of the rows, float32, shape (n_rows, n_features).
            operator: `LessOrEqual` or `Greater`.
            deep: Whether to put a dimension of 1 after the rows.

        Returns:
            Names of the results, bool, shape (n_rows, n_comparisons), and of the number of the comparison that
            belongs to each entry; None where the two have one order.
        """
        if self.kind == "grid":
            columns = self._used(graph, (len(self.used), 1))
            held = self._compared(graph, rows, None if self._uses_all else columns, self._table(graph), operator)
            flat = graph.node("Reshape", held, graph.integers([0, 1, -1] if deep else [0, -1]))
            return flat, self.codes.write(graph, exact=True)
        if self.kind == "pairs":
            columns, thresholds = self._places(graph, self._pairs(graph))
            column_of = self.codes.write(graph, exact=True)
        else:
            columns, column_of = self._columns(graph, self.codes.write(graph, exact=True)), None
            thresholds = write_floats(graph, self.table)
        if deep:
            columns = graph.node("Unsqueeze", columns, graph.integers([0]))
        return self._compared(graph, rows, columns, thresholds, operator), column_of

    def _compared(self, graph: Graph, rows: str, columns: str | None, thresholds: str, operator: str) -> str:
        """Compare columns with thresholds, in those of the second set as it is to be."""
        if columns is None:
            return graph.node(operator, graph.node("Unsqueeze", rows, graph.integers([2])), thresholds)
        if not self._has_second:
            return graph.node(operator, graph.node("Gather", rows, columns, axis=1), thresholds)
        width = graph.integers([self.n_features], "int32")
        seen = graph.node("Gather", rows, graph.node("Mod", columns, width), axis=1)
        if self.is_opposite:
            sign, bounds = self._negated(graph, columns, thresholds)
            return graph.node(operator, graph.node("Mul", seen, sign), bounds)
        holds_missing = graph.node("Greater", columns, graph.integers([self.n_features - 1], "int32"))
        missing = graph.node("And", graph.node("IsNaN", seen), holds_missing)
        return graph.node("Or", graph.node(operator, seen, thresholds), missing)

    def _negated(self, graph: Graph, columns: str, thresholds: str) -> tuple[str, str]:
        """Return the sign of each column, -1 in the second set, and the bounds that the product with it is not to pass.

        x > t is -x <= -(the number that follows t), and that number is t + |t| x 1.25 x 2^-24, rounded: more than half
        of the distance and less than one and a half, on either side of a power of two.
        """
        second = graph.node("Div", columns, graph.integers([self.n_features], "int32"))
        sign = graph.node("Pow", graph.constant(-1.0), second)
        share = graph.node("Relu", graph.node("Mul", sign, graph.constant(-GAP)))  # 0 where the sign is 1
        gap = graph.node("Mul", graph.node("Abs", thresholds), share)
        return sign, graph.node("Mul", graph.node("Add", thresholds, gap), sign)

    def write_each(self, graph: Graph) -> tuple[str, str]:
        """Write column and threshold of each entry; return their names, int32 and float32, flat."""
        codes = self.codes.write(graph, exact=True)
        if self.kind == "direct":
            columns, thresholds = self._columns(graph, codes), write_floats(graph, self.table)
        else:
            columns, thresholds = self._places(
                graph, graph.node("Gather", self._pairs(graph), codes) if self.kind == "pairs" else codes
            )
        if self._has_second and self.is_opposite:
            thresholds = self._negated(graph, columns, thresholds)[1]
        return columns, thresholds

    def _places(self, graph: Graph, places: str) -> tuple[str, str]:
        """Take places in the grid apart into columns and thresholds."""
        width = graph.integers([len(self.table)], "int32")
        columns = self._columns(graph, graph.node("Div", places, width))
        return columns, graph.node("Gather", self._table(graph), graph.node("Mod", places, width))

    def _pairs(self, graph: Graph) -> str:
        return graph.node("CumSum", self.pairs.write(graph, exact=True), graph.integers([0], shape=()))

    @property
    def _has_second(self) -> bool:
        return bool((self.used >= self.n_features).any())

    @property
    def _uses_all(self) -> bool:
        return np.array_equal(self.used, np.arange(self.n_features))

    def _columns(self, graph: Graph, numbers: str) -> str:
        return numbers if self._uses_all else graph.node("Gather", self._used(graph, (len(self.used),)), numbers)

    def _used(self, graph: Graph, shape: tuple[int, ...]) -> str:
        return graph.integers(self.used.tolist(), "int32", shape)

    def _table(self, graph: Graph) -> str:
        if self.n_half in (0, len(self.table)):
            return write_floats(graph, self.table)
        half, rest = self.table[: self.n_half], self.table[self.n_half :]
        return graph.node("Concat", write_floats(graph, half), graph.weights(rest), axis=0)


def splits_of(
    feature: np.ndarray, threshold: np.ndarray, n_features: int, *, is_opposite: bool = False
) -> Iterator[Splits]:
    """Yield the ways to write comparisons.

    Args:
        feature: Column of each entry, int, shape (n_entries,); from n_features on of the second set.
        threshold: float32, shape (n_entries,); NaN where a comparison must always fail.
        n_features: Columns of the rows.
        is_opposite: As in `Splits`.
    """
    is_real = ~np.isnan(threshold)
    used = np.unique(feature[is_real]) if is_real.any() else np.array([0])
    column = np.where(is_real, np.searchsorted(used, feature), 0)
    table, n_half = _thresholds(column[is_real], threshold[is_real])
    place = np.zeros(len(threshold), np.int64)
    by_value = np.argsort(table[1:], kind="stable")
    found = by_value[np.searchsorted(table[1:][by_value], threshold[is_real])] + 1 if is_real.any() else []
    place[is_real] = found
    grid = column * len(table) + place
    pairs = np.unique(np.concatenate([[0], grid]))
    steps, nothing = Numbers(np.diff(pairs, prepend=0)), Numbers(np.zeros(1, np.int64))
    yield Splits("grid", used, n_features, table, n_half, nothing, Numbers(grid), is_opposite)
    yield Splits("pairs", used, n_features, table, n_half, steps, Numbers(np.searchsorted(pairs, grid)), is_opposite)
    yield Splits("direct", used, n_features, threshold, 0, nothing, Numbers(column), is_opposite)


def _thresholds(column: np.ndarray, threshold: np.ndarray) -> tuple[np.ndarray, int]:
    """Return different thresholds, NaN first, those exact in float16 next, each part by first column, then by value."""
    values, inverse = np.unique(threshold, return_inverse=True)
    first = np.full(len(values), np.iinfo(np.int64).max)
    np.minimum.at(first, inverse, column)
    with np.errstate(over="ignore"):
        is_half = values.astype(np.float16).astype(np.float32) == values
    order = np.lexsort((values, first, ~is_half))
    return np.concatenate([[np.float32(np.nan)], values[order]]).astype(np.float32), 1 + int(is_half.sum())
