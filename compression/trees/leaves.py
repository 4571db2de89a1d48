"""Writing what leaves say: as counts, as floats or as levels, each distinct leaf once where that is shorter."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import final

import numpy as np

from compression.graph import Graph
from compression.trees.ensemble import Ensemble
from compression.trees.integers import Numbers, cost, places_by_use, with_literals, written
from engine.errors import did_you_mean

__all__ = ["LEAVES", "Leaves", "leaves_of", "write_floats"]

LEAVES = {
    "exact": 0,
    "float16": 16,
    "int8": 8,
    "int7": 7,
    "int6": 6,
    "int5": 5,
    "int4": 4,
    "int3": 3,
    "int2": 2,
}  # -> bits
MOST_COUNTED = 4096  # largest count that is looked for behind a probability
TABLE = 110  # bytes of the nodes that look a leaf up in a table of distinct ones
FREQUENT = (*range(1, 64), 84, 102, 127, 181, 255, 361, 511)  # how many frequent leaves to try as those written once


@final
@dataclass(frozen=True, eq=False)
class Leaves:
    """Leaf values as they will be written.

    Args:
        rows: What is written of each leaf: counts, levels or values, shape (n_leaves, n_columns).
        kind: `counts`, `levels`, `floats`, or `complement` for floats whose first column is what the others leave of 1.
        trees: Number of the tree that each leaf belongs to, int, shape (n_leaves,).
        low: Value of level 0, shape (n_trees,); only for levels.
        step: From level to level, likewise.
    """

    rows: np.ndarray
    kind: str
    trees: np.ndarray
    low: np.ndarray | None = None
    step: np.ndarray | None = None

    @property
    def width(self) -> int:
        """How many values a leaf holds."""
        return int(self.rows.shape[1]) + (self.kind == "complement")

    def values(self) -> np.ndarray:
        """Return what the leaves of the file say, shape (n_leaves, n_values)."""
        if self.kind == "counts":
            counts = self.rows.astype(np.float32)
            return np.asarray(counts / counts.sum(axis=1, keepdims=True))
        if self.step is not None and self.low is not None:
            return np.asarray(self.rows * self.step[self.trees, None] + self.low[self.trees, None])
        floats = self.rows.astype(np.float32)
        if self.kind == "complement":
            return np.hstack([1 - floats.sum(axis=1, keepdims=True, dtype=np.float32), floats])
        return floats

    def ordered(self, order: np.ndarray) -> Leaves:
        """Return the leaves in another order, a leaf as often as it is named."""
        return dataclasses.replace(self, rows=self.rows[order], trees=self.trees[order])

    def write(self, graph: Graph) -> str:
        """Write the leaves and how their values are made.

        Returns:
            Name of the values, float32, shape (at least n_leaves, n_values); for levels of these, without low and step,
            shape (n_leaves, 1).
        """
        if self.kind == "levels":
            levels = graph.node("Cast", Numbers(self.rows[:, 0]).write(graph, exact=True), to=1)
            return graph.node("Reshape", levels, graph.integers([-1, 1]))
        order, place, frequent = self._plan
        distinct, rows = self._distinct[0][order], self.rows
        if not frequent:
            return self._table(graph, rows)
        if frequent == len(distinct):
            return graph.node("Gather", self._table(graph, distinct), Numbers(place).write(graph))
        index = with_literals(graph, np.minimum(place, frequent), frequent)
        table = np.concatenate([distinct[:frequent], rows[:1], rows[place >= frequent]])
        return graph.node("Gather", self._table(graph, table), index)

    @property
    def size(self) -> int:
        """About how many bytes they take."""
        return self._sizes[self._plan[2]]

    @cached_property
    def _distinct(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Different leaves, the number of each leaf among them, and how often each occurs."""
        _, first, inverse, counts = np.unique(
            _keys(self.rows), return_index=True, return_inverse=True, return_counts=True
        )
        return self.rows[first], inverse, counts

    @cached_property
    def _plan(self) -> tuple[np.ndarray, np.ndarray, int]:
        """Different leaves by use, the place of each leaf there, and how many to write once (0: none; or all)."""
        _, inverse, counts = self._distinct
        order, place = places_by_use(counts)
        return order, place[inverse], min(self._sizes, key=lambda count: (self._sizes[count], count))

    @cached_property
    def _sizes(self) -> dict[int, int]:
        """About how many bytes the leaves take, by how many of the frequent ones are written once."""
        distinct, _, counts = self._distinct
        order, _ = places_by_use(counts)
        each, counts = self._bytes_each(distinct[order]), counts[order]
        heads, rests = np.cumsum(each), np.cumsum((each * counts)[::-1])[::-1]
        sizes = {0: int(rests[0]), len(order): int(heads[-1]) + TABLE + cost(len(self.rows), len(order))}
        for count in FREQUENT:
            if count < len(order):
                size = heads[count - 1] + each[0] + rests[count] + TABLE + cost(len(self.rows), count + 1)
                sizes[count] = int(size)
        return sizes

    def _bytes_each(self, rows: np.ndarray) -> np.ndarray:
        if self.kind in ("floats", "complement"):
            return np.full(len(rows), rows.shape[1] * (2.0 if _is_half(rows) else 4.0))
        bits = np.log2(max(int(rows.max(initial=0)) + 1, 2))
        return np.asarray((rows.shape[1] + (rows > 0).sum(axis=1) * bits) / 8)

    def _table(self, graph: Graph, rows: np.ndarray) -> str:
        if self.kind == "counts":
            numbers = _counts(graph, rows.astype(np.int64))
            return graph.node("Div", numbers, graph.node("ReduceSum", numbers, graph.integers([1])))
        floats = write_floats(graph, rows)
        if self.kind == "complement":
            first = graph.node("Sub", graph.constant(1.0), graph.node("ReduceSum", floats, graph.integers([1])))
            return graph.node("Concat", first, floats, axis=1)
        return floats


def leaves_of(ensemble: Ensemble, values: np.ndarray, trees: np.ndarray, mode: str) -> Leaves:
    """Decide how to write leaf values.

    Args:
        ensemble: They belong to; shares of classes can be written as counts.
        values: float64, shape (n_leaves, n_values).
        trees: Number of the tree that each leaf belongs to, int, shape (n_leaves,).
        mode: `exact`: float32 values, or counts whose shares are those; `float16`; `int8` to `int2`: so many bits a
            value, equally spaced between the extremes of its tree (or as counts up to 2^bits - 1).

    Raises:
        ValueError: If there is no such mode; it lists them.
    """
    if mode not in LEAVES:
        raise ValueError(f"No way '{mode}' to write leaves{did_you_mean(mode, LEAVES)} Ways: {', '.join(LEAVES)}.")
    is_flat = values.shape[1] == 1
    shares = not is_flat and ensemble.link == "mean" and bool((values >= 0).all())
    shares = shares and bool(np.allclose(values.sum(axis=1), 1, atol=1e-9))
    if mode not in ("exact", "float16"):
        top = 2 ** LEAVES[mode] - 1
        if shares:
            counts = np.maximum(np.rint(values * top), values == values.max(axis=1, keepdims=True))
            return Leaves(_reduced(counts.astype(np.int64)), "counts", trees)
        if is_flat:
            return _levels(values, trees, top)
        mode = "float16"
    kept = values.astype(np.float16 if mode == "float16" else np.float32).astype(np.float32)
    if not shares:
        return Leaves(kept, "floats", trees)
    floats = Leaves(kept[:, 1:], "complement", trees)
    counts = _counted(values)
    if counts is None:
        return floats
    counted = Leaves(counts, "counts", trees)
    return min(floats, counted, key=lambda leaves: leaves.size)


def write_floats(graph: Graph, values: np.ndarray) -> str:
    """Write floats as float16 where that is exact, else as float32; return their name, float32."""
    if not _is_half(values):
        return graph.weights(values.astype(np.float32))
    return graph.node("Cast", graph.weights(values.astype(np.float16)), to=1)


def _is_half(values: np.ndarray) -> bool:
    with np.errstate(over="ignore"):
        return bool(np.array_equal(values.astype(np.float16).astype(np.float32), values, equal_nan=True))


def _levels(values: np.ndarray, trees: np.ndarray, top: int) -> Leaves:
    """Round values to levels between the extremes of their tree; steps are exact in float16 where they can be."""
    count = int(trees.max()) + 1
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, trees, values[:, 0])
    np.maximum.at(high, trees, values[:, 0])
    step = ((high - low) / top).astype(np.float32)
    with np.errstate(over="ignore"):
        near = step.astype(np.float16).astype(np.float32)
    step = near if np.allclose(near, step, rtol=1e-3, atol=0) else step
    step = np.where(step > 0, step, np.float32(1))
    rows = np.clip(np.rint((values - low[trees, None]) / step[trees, None]), 0, top)
    return Leaves(rows.astype(np.int64), "levels", trees, low, step)


def _keys(rows: np.ndarray) -> np.ndarray:
    """Return each row as one value that can be sorted."""
    packed = np.ascontiguousarray(rows)
    return packed.reshape(-1) if rows.shape[1] == 1 else packed.view(f"V{packed.itemsize * rows.shape[1]}").reshape(-1)


def _counts(graph: Graph, rows: np.ndarray) -> str:
    """Write counts, float32, shape (at least n_rows, n_columns): all of them, or which are not zero, and those."""
    width = rows.shape[1]
    dense = Numbers(rows.reshape(-1))
    rows = np.concatenate([rows, rows[:1].repeat(-len(rows) % 8, axis=0)])  # whole bytes: no row of zeros to divide
    is_counted, flat = rows.reshape(-1) > 0, rows.reshape(-1)
    sparse = Numbers(np.concatenate([[0], flat[is_counted]]))
    if cost(len(flat), 2) + sparse.size + 50 < dense.size:
        bits = written(graph, is_counted.astype(np.int64), 2, multiple=width)
        places = graph.node("Mul", graph.node("CumSum", bits, graph.integers([0], shape=())), bits)
        flat_name = graph.node("Gather", sparse.write(graph), places)
    else:
        flat_name = dense.write(graph, exact=True)
    return graph.node("Cast", graph.node("Reshape", flat_name, graph.integers([-1, width])), to=1)


def _counted(values: np.ndarray) -> np.ndarray | None:
    """Return counts whose shares are the values, int, or None where small ones do not exist."""
    distinct, inverse = np.unique(values, return_inverse=True)
    fractions = [Fraction(float(value)).limit_denominator(MOST_COUNTED) for value in distinct]
    denominators = np.array([fraction.denominator for fraction in fractions])[inverse.reshape(values.shape)]
    total = np.lcm.reduce(denominators, axis=1)
    if (total > MOST_COUNTED).any() or (total <= 0).any():
        return None
    counts = np.rint(values * total[:, None]).astype(np.int64)
    back = (counts / counts.sum(axis=1, keepdims=True)).astype(np.float32)
    is_same = np.allclose(back, values.astype(np.float32), rtol=3e-7, atol=0)
    return _reduced(counts) if is_same else None


def _reduced(counts: np.ndarray) -> np.ndarray:
    return np.asarray(counts // np.gcd.reduce(counts, axis=1)[:, None])
