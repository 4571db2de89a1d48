"""The order in which the nodes of a forest lie in a file, and what a missing value is taken for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from compression.graph import Graph
from compression.trees.ensemble import Ensemble, Tree

__all__ = ["DUMMY", "Forest", "Layout", "Missing", "forest_of", "heap", "missing_of", "pointers"]

DUMMY = -1  # stands in a heap where a tree has ended already; a row always takes its first child
SMALLEST = 2.0**-120  # magnitude from which a threshold and its share of 2^-24 are normal numbers, or nearly so
MOST_PADDING = 3  # a heap may have so many times the leaves of the trees


@final
@dataclass(frozen=True, eq=False)
class Forest:
    """All trees in one set of arrays, the roots first, shape (n_nodes,) each.

    Args:
        feature: Column of the rows, int.
        threshold: float32.
        first: Child of rows whose comparison fails, int; -1 in leaves.
        second: Child of rows whose comparison holds.
        value: float64, shape (n_nodes, n_values).
        roots: Node numbers of the roots.
    """

    feature: np.ndarray
    threshold: np.ndarray
    first: np.ndarray
    second: np.ndarray
    value: np.ndarray
    roots: np.ndarray

    @property
    def is_leaf(self) -> np.ndarray:
        """Whether a node is a leaf."""
        return self.first < 0


@final
@dataclass(frozen=True, eq=False)
class Missing:
    """How comparisons treat missing values so that they go where the trees say.

    Args:
        operator: `LessOrEqual`, with which NaN fails and goes right; `Greater`, with which it fails and goes left.
        fill: What NaN is replaced by first: nothing, one number, or one a column (NaN where it stays).
        split: Nodes that look at a second set of columns, in which NaN is the smallest number; bool, one a node.
        is_opposite: Whether those nodes ask the opposite question instead, x > threshold, which NaN fails: their
            children are exchanged, and the second set is the negated columns. Quicker, where thresholds allow it.
    """

    operator: str
    fill: np.ndarray | None
    split: np.ndarray
    is_opposite: bool = False

    def write(self, graph: Graph, source: str, *, second: bool) -> str:
        """Write the replacement of missing values.

        Args:
            graph: Receives constants and nodes.
            source: Name of the rows, float32, shape (n_rows, n_features).
            second: Whether to make the second set of columns, if one is needed.

        Returns:
            Name of the rows to compare.
        """
        if self.fill is not None:
            return graph.node("Where", graph.node("IsNaN", source), graph.weights(self.fill), source)
        if not second or not self.split.any():
            return source
        if self.is_opposite:
            return graph.node("Concat", source, graph.node("Neg", source), axis=1)
        smallest = graph.constant(-np.inf)
        return graph.node("Concat", source, graph.node("Where", graph.node("IsNaN", source), smallest, source), axis=1)


@final
@dataclass(frozen=True, eq=False)
class Layout:
    """An order of nodes, level by level through all trees at once.

    With bits, the children of the k-th inner node lie at n_trees + 2 k and the place after. So one bit a node, inner or
    leaf, tells the whole shape (as in the level-order unary degree sequence of succinct trees; Source: Jacobson,
    Space-efficient static trees and graphs, 1989). In a heap all leaves lie on the last level and nothing needs to be
    told: the children of the j-th node of a level of n are the j-th and the (n + j)-th of the next.

    Args:
        inner: Inner nodes in order, or DUMMY.
        leaves: Leaves in order.
        bits: Whether each place holds an inner node, shape (n_inner + n_leaves,); None for a heap.
        n_trees: Number of trees.
        depth: Steps from the roots to the last level; at least 1.
    """

    inner: np.ndarray
    leaves: np.ndarray
    bits: np.ndarray | None
    n_trees: int
    depth: int


def forest_of(ensemble: Ensemble, missing: Missing) -> Forest:
    """Put all trees of an ensemble into one set of arrays."""
    trees = ensemble.trees
    starts = np.cumsum([0, *(len(tree.left) for tree in trees)])
    left, right = (_moved([getattr(tree, side) for tree in trees], starts) for side in ("left", "right"))
    fails_left = (missing.operator == "Greater") | (missing.split & missing.is_opposite)
    return Forest(
        np.concatenate([tree.feature for tree in trees]).astype(np.int64) + missing.split * ensemble.n_features,
        np.concatenate([tree.threshold for tree in trees]),
        np.where(fails_left, left, right),
        np.where(fails_left, right, left),
        np.concatenate([tree.value for tree in trees]),
        starts[:-1],
    )


def pointers(forest: Forest) -> Layout:
    """Return the layout that fits trees of any shape."""
    levels = list(_levels(forest))
    order = np.concatenate(levels)
    is_inner = ~forest.is_leaf[order]
    return Layout(order[is_inner], order[~is_inner], is_inner, len(forest.roots), max(len(levels) - 1, 1))


def heap(forest: Forest) -> Layout | None:
    """Return the layout of trees filled up to their deepest level, or None where that is far too much."""
    depth = max(sum(1 for _ in _levels(forest)) - 1, 1)
    if len(forest.roots) * 2**depth > MOST_PADDING * forest.is_leaf.sum():
        return None
    level, inner = forest.roots, []
    for _ in range(depth):
        ended = forest.is_leaf[level]
        inner.append(np.where(ended, DUMMY, level))
        children = [np.where(ended, level, child[level]) for child in (forest.first, forest.second)]
        level = np.concatenate(children)
    return Layout(np.concatenate(inner), level, None, len(forest.roots), depth)


def missing_of(ensemble: Ensemble) -> Missing:
    """Find the shortest way to send missing values where the trees want them.

    In order: as comparisons do by themselves; one number in place of NaN; one number a column; a second set of columns.
    """
    inner = np.concatenate([~tree.is_leaf for tree in ensemble.trees])
    left = _joined(ensemble.trees, "missing_left") & inner
    nothing = np.zeros(len(inner), bool)
    if not ensemble.takes_missing or not left.any():
        return Missing("LessOrEqual", None, nothing)
    if left[inner].all():
        return Missing("Greater", None, nothing)
    threshold, feature = _joined(ensemble.trees, "threshold"), _joined(ensemble.trees, "feature")
    one = _fill(threshold, left, inner)
    if one is not None:
        return Missing("LessOrEqual", np.array([one], np.float32), nothing)
    fills = np.full(ensemble.n_features, np.nan, np.float32)
    for column in range(ensemble.n_features):
        here = inner & (feature == column)
        if (left & here).any():
            found = _fill(threshold, left & here, here)
            if found is None:
                sizes = np.abs(threshold[left])
                return Missing("LessOrEqual", None, left, bool(((sizes >= SMALLEST) & (sizes < np.inf)).all()))
            fills[column] = found
    return Missing("LessOrEqual", fills, nothing)


def _fill(threshold: np.ndarray, left: np.ndarray, inner: np.ndarray) -> float | None:
    """Return a number that goes left where `left` holds and right in the other inner nodes, if there is one."""
    highest = float(threshold[left].min())
    others = threshold[inner & ~left]
    if len(others) and others.max() >= highest:
        return None
    return 0.0 if highest >= 0 and not (len(others) and others.max() >= 0) else highest


def _joined(trees: Sequence[Tree], name: str) -> np.ndarray:
    return np.concatenate([getattr(tree, name) for tree in trees])


def _moved(children: Sequence[np.ndarray], starts: np.ndarray) -> np.ndarray:
    return np.concatenate([np.where(c < 0, c, c + start) for c, start in zip(children, starts[:-1], strict=True)])


def _levels(forest: Forest) -> Iterator[np.ndarray]:
    """Yield the nodes of each level, of all trees at once."""
    level = forest.roots
    while len(level):
        yield level
        inner = level[~forest.is_leaf[level]]
        level = np.stack([forest.first[inner], forest.second[inner]], 1).reshape(-1)
