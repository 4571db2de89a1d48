"""Going down all trees of a forest at once, from the roots to the values of the leaves."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np

from compression.graph import Graph
from compression.trees.integers import Numbers
from compression.trees.layouts import Layout
from compression.trees.leaves import Leaves, write_floats
from compression.trees.splits import Splits

__all__ = ["Descent", "descend"]

SHARED_STEPS = 4  # steps from which a local function is shorter than writing each in place
FEW_COMPARISONS = 1024  # so many are made for every row, whatever its way; more only where it needs half of them
FEW_STEPS = 6144  # comparisons x levels up to which the way through a level is one addition


@final
@dataclass(frozen=True, eq=False)
class Descent:
    """What the way down is made of.

    Args:
        layout: Order of the nodes.
        splits: Their comparisons, in that order; number 0 stands for leaves where the layout has bits.
        leaves: Their values, in that order; likewise.
        operator: `LessOrEqual` or `Greater`.
        is_expanded: Whether the nodes of a layout with bits are laid out as a heap when the file is loaded: quicker,
            and longer by some nodes a level.
    """

    layout: Layout
    splits: Splits
    leaves: Leaves
    operator: str
    is_expanded: bool

    @property
    def makes_all(self) -> bool:
        """Whether all comparisons of the forest are made first; else those of a step in the step."""
        count, layout = self.splits.n_comparisons, self.layout
        if self.by_levels:
            return count * layout.depth <= FEW_STEPS
        return count <= max(FEW_COMPARISONS, 2 * layout.n_trees * layout.depth)

    @property
    def by_levels(self) -> bool:
        """Whether nodes are numbered within their level."""
        return self.is_expanded or self.layout.bits is None

    @property
    def is_quick(self) -> bool:
        """Whether a step is three operators."""
        return self.by_levels and self.makes_all


@final
@dataclass(frozen=True)
class Nodes:
    """Names of the tables of all nodes, shape (n_nodes,) each.

    Args:
        columns: Number of a node's comparison, or the column it looks at.
        thresholds: Its threshold; None where comparisons are made already.
        base: Number of its first child; its own in leaves.
        bits: 1 in inner nodes.
        values: float32, shape (n_nodes, n_values).
    """

    columns: str
    thresholds: str | None
    base: str
    bits: str
    values: str


def descend(graph: Graph, rows: str, descent: Descent, *, mirrored: bool = False) -> str:
    """Write the way from rows to leaf values.

    A step takes all rows down all trees by one level; it holds n_rows x n_trees numbers.

    Args:
        graph: Receives constants and nodes.
        rows: Name of the rows, float32, shape (n_rows, n_columns).
        descent: What the way is made of.
        mirrored: Whether to put the negative of the one value of a leaf before it.

    Returns:
        Name of the values, float32, shape (n_rows, n_trees, n_values); of levels, without what their trees add to all.
    """
    thresholds, values = None, descent.leaves.write(graph)
    if mirrored:
        values = graph.node("Mul", values, graph.weights(np.array([-1, 1], np.float32)))
    if descent.makes_all:
        source, columns = descent.splits.write_all(graph, rows, descent.operator, deep=descent.by_levels)
    else:
        source, (columns, thresholds) = rows, descent.splits.write_each(graph)
    if descent.layout.bits is None:
        sizes = [descent.layout.n_trees * 2**level for level in range(descent.layout.depth)]
        columns = columns or Numbers(np.arange(sum(sizes))).write(graph, exact=True)
        parts = _parts(graph, columns, sizes), _parts(graph, thresholds, sizes)
        return _by_levels(graph, descent, source, *parts, values)
    nodes = _nodes(graph, descent, columns, thresholds, values)
    if descent.is_expanded:
        columns_by_level, thresholds_by_level, values = _expanded(
            graph, descent, nodes, 2 if mirrored else descent.leaves.width
        )
        return _by_levels(graph, descent, source, columns_by_level, thresholds_by_level, values)
    return _by_pointers(graph, descent, source, nodes)


def _nodes(graph: Graph, descent: Descent, columns: str | None, thresholds: str | None, values: str) -> Nodes:
    """From one bit a node: the rank of inner nodes, the rank of leaves, and where the children lie."""
    axis, one = graph.integers([0], shape=()), graph.integers([1], "int32")
    assert descent.layout.bits is not None
    bits = Numbers(descent.layout.bits.astype(np.int64)).write(graph, exact=True)
    inverse = graph.node("Sub", one, bits)
    inner, ended = graph.node("CumSum", bits, axis), graph.node("CumSum", inverse, axis)
    rank, leaf = graph.node("Mul", inner, bits), graph.node("Mul", ended, inverse)
    children = graph.node("Add", rank, rank)
    if descent.layout.n_trees != 2:
        children = graph.node("Add", children, graph.integers([descent.layout.n_trees - 2], "int32"))
    itself = graph.node("Sub", graph.node("Add", inner, ended), one)
    return Nodes(
        rank if columns is None else graph.node("Gather", columns, rank),
        None if thresholds is None else graph.node("Gather", thresholds, rank),
        graph.node("Where", graph.node("Cast", bits, to=9), children, itself),
        bits,
        graph.node("Gather", values, leaf),
    )


def _by_pointers(graph: Graph, descent: Descent, source: str, nodes: Nodes) -> str:
    """Step by step from a node to the number of its child."""
    count, operator = descent.layout.n_trees, descent.operator
    if nodes.thresholds is None:
        source = graph.node("Cast", source, to=6)
    held = graph.node("Gather", source, _first(graph, nodes.columns, count), axis=1)
    if nodes.thresholds is not None:
        held = graph.node("Cast", graph.node(operator, held, _first(graph, nodes.thresholds, count)), to=6)
    node = graph.node("Add", held, _first(graph, nodes.base, count))
    tables = [name for name in (source, nodes.columns, nodes.base, nodes.thresholds) if name is not None]

    def body(place: Graph, node: str, source: str, columns: str, base: str, thresholds: str = "") -> str:
        held = place.node("GatherElements", source, place.node("Gather", columns, node), axis=1)
        if thresholds:
            held = place.node("Cast", place.node(operator, held, place.node("Gather", thresholds, node)), to=6)
        return place.node("Add", place.node("Gather", base, node), held)

    step = _repeated(graph, descent.layout.depth - 1, f"pointers {operator}", body, len(tables) + 1)
    for _ in range(descent.layout.depth - 1):
        node = step(node, *tables)
    found = graph.node("Gather", nodes.values, node)
    steps = descent.leaves.step
    return found if steps is None else graph.node("Mul", found, write_floats(graph, steps[:, None]))


def _repeated(graph: Graph, times: int, key: str, body: Callable[..., str], arity: int) -> Callable[..., str]:
    """Return what writes nodes once more: in place, or as a call of a local function where they repeat often."""
    if times < SHARED_STEPS:
        return functools.partial(body, graph)
    inner, names = Graph(), list("PQRSTUV"[:arity])
    graph.function((key, arity), inner.nodes, names, body(inner, *names))
    return functools.partial(graph.call, (key, arity))


def _expanded(graph: Graph, descent: Descent, nodes: Nodes, width: int) -> tuple[list[str], list[str], str]:
    """Lay nodes out as a heap, leaves repeated down to the last level: columns and thresholds by level, and values."""
    depth, count = descent.layout.depth, descent.layout.n_trees
    second = graph.node("Mul", nodes.bits, graph.integers([0, 1], "int32", (2, 1)))
    child = graph.node("Add", nodes.base, second)
    flat = graph.integers([-1])
    columns = [_first(graph, nodes.columns, count)]
    thresholds = [] if nodes.thresholds is None else [_first(graph, nodes.thresholds, count)]
    level = graph.node("Slice", child, graph.integers([0]), graph.integers([count]), graph.integers([1]))
    for _ in range(depth - 1):
        columns.append(graph.node("Reshape", graph.node("Gather", nodes.columns, level), flat))
        if nodes.thresholds is not None:
            thresholds.append(graph.node("Reshape", graph.node("Gather", nodes.thresholds, level), flat))
        level = graph.node("Gather", child, level, axis=1)
    shape = graph.integers([-1, width])
    return columns, thresholds, graph.node("Reshape", graph.node("Gather", nodes.values, level), shape)


def _by_levels(
    graph: Graph, descent: Descent, source: str, columns: list[str], thresholds: list[str], values: str
) -> str:
    """Step by step from the number of a node in its level to that in the next: itself, or that and the level's size."""
    count, depth = descent.layout.n_trees, descent.layout.depth
    sizes, operator, tables = [count * 2**level for level in range(depth)], descent.operator, [columns]
    if thresholds:
        zero = graph.integers([0], "int32", ())
        tables += [thresholds, [graph.integers([size], "int32", ()) for size in sizes], [zero] * depth]
        held = graph.node(operator, graph.node("Gather", source, columns[0], axis=1), thresholds[0])
        held = graph.node("Where", held, tables[2][0], zero)
    else:
        steps = graph.node("Mul", graph.node("Cast", source, to=6), graph.integers(sizes, "int32", (depth, 1)))
        source, width = graph.node("Reshape", steps, graph.integers([0, -1])), descent.splits.n_comparisons
        for level in range(1, depth):
            columns[level] = graph.node("Add", columns[level], graph.integers([level * width], "int32"))
        held = graph.node("Gather", source, columns[0], axis=1)
    node = graph.node("Add", held, Numbers(np.arange(count)).write(graph, exact=True))

    def body(place: Graph, node: str, source: str, columns: str, *limits: str) -> str:
        held = place.node("GatherElements", source, place.node("Gather", columns, node), axis=1)
        if limits:
            thresholds, size, zero = limits
            held = place.node(operator, held, place.node("Gather", thresholds, node))
            held = place.node("Where", held, size, zero)
        return place.node("Add", held, node)

    if descent.leaves.step is not None:
        by_tree = graph.node("Reshape", values, graph.integers([2**depth, count, -1]))
        scaled = graph.node("Mul", by_tree, write_floats(graph, descent.leaves.step[:, None]))
        values = graph.node("Reshape", scaled, graph.integers([count * 2**depth, -1]))
    step = _repeated(graph, depth - 1, f"levels {operator}", body, len(tables) + 2)
    for level in range(1, depth):
        node = step(node, source, *(table[level] for table in tables))
    return graph.node("Gather", values, node)


def _parts(graph: Graph, table: str | None, sizes: list[int]) -> list[str]:
    return [] if table is None else graph.split(table, sizes)


def _first(graph: Graph, table: str, count: int) -> str:
    return graph.node("Slice", table, graph.integers([0]), graph.integers([count]))
