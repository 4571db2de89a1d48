"""Oblivious trees: all nodes of a level ask the same, so a tree is a few comparisons and a table of leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from compression.dense import Manner, linked
from compression.features import Blocks, matrix
from compression.graph import Graph
from compression.tables import TableGraph
from compression.trees.integers import Numbers
from compression.trees.leaves import write_floats

__all__ = ["ObliviousModel"]


@final
@dataclass(frozen=True, eq=False)
class ObliviousModel:
    """Sums of the leaves that rows reach; bit d of a leaf's number says whether x[feature d] > edge d.

    A missing value is above nothing.

    Args:
        features: Of each level of each tree, int, shape (n_trees, depth).
        edges: Likewise, float32.
        levels: Leaves as whole numbers, not negative, int, shape (n_trees, 2^depth, n_scores).
        step: From level to level, of each score, shape (n_scores,).
        base: Added to the sums, shape (n_scores,).
        link: See `compression.dense.linked`.
    """

    features: np.ndarray
    edges: np.ndarray
    levels: np.ndarray
    step: np.ndarray
    base: np.ndarray
    link: str
    codings: tuple[str, ...] = ("float32",)

    @property
    def values(self) -> np.ndarray:
        """What leaves add, float64, shape (n_trees, 2^depth, n_scores)."""
        return np.asarray(self.levels * self.step.astype(np.float64))

    def leaf_numbers(self, x: np.ndarray) -> np.ndarray:
        """Return the leaf of each tree that each row reaches, int, shape (n_rows, n_trees)."""
        powers = 1 << np.arange(self.features.shape[1])
        with np.errstate(invalid="ignore"):
            found = [(x[:, own] > edges) @ powers for own, edges in zip(self.features, self.edges, strict=True)]
        return np.stack(found, axis=1)

    def scores(self, x: np.ndarray) -> np.ndarray:
        """Return the sums, float64, shape (n_rows, n_scores), for `x`, float32, shape (n_rows, n_features)."""
        values = self.values
        numbers = self.leaf_numbers(x)
        total = np.tile(self.base.astype(np.float64), (len(x), 1))
        for tree in range(len(values)):
            total += values[tree][numbers[:, tree]]
        return total

    def lower(self, graph: TableGraph, blocks: Blocks, _: Manner, /) -> tuple[str, ObliviousModel]:
        """Write each comparison once, the number of each level's comparison, and the leaves."""
        n_trees, depth = self.features.shape
        _, n_leaves, n_scores = self.levels.shape
        rows = matrix(graph, blocks)
        pairs, codes = np.unique(
            np.stack([self.features.ravel(), self.edges.ravel().astype(np.float64)]), axis=1, return_inverse=True
        )
        own = graph.node("Gather", rows, graph.integers(pairs[0].astype(np.int64).tolist(), "int32"), axis=1)
        above = graph.node("Greater", own, write_floats(graph, pairs[1].astype(np.float32)))
        bits = graph.node("Gather", graph.node("Cast", above, to=6), _exact(graph, codes.ravel()), axis=1)
        bits = graph.node("Reshape", bits, graph.integers([0, n_trees, depth]))
        powers = graph.integers([1 << place for place in range(depth)], "int32")
        places = graph.node("ReduceSum", graph.node("Mul", bits, powers), graph.integers([2]), keepdims=0)
        first = [graph.integers([number], "int32", ()) for number in (0, n_trees * n_leaves, n_leaves)]
        places = graph.node("Add", places, graph.node("Range", *first))
        flat = graph.node("Cast", _exact(graph, self.levels.ravel()), to=1)
        leaves = graph.node("Reshape", flat, graph.integers([-1, n_scores]))
        total = graph.node("ReduceSum", graph.node("Gather", leaves, places), graph.integers([1]), keepdims=0)
        scaled = graph.node("Mul", total, graph.weights(self.step.astype(np.float32)))
        scores = graph.node("Add", scaled, graph.weights(self.base.astype(np.float32)))
        return linked(graph, scores, self.link), self


def _exact(graph: Graph, values: np.ndarray) -> str:
    return Numbers(values.astype(np.int64)).write(graph, exact=True)
