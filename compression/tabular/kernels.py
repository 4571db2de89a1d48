"""Models that compare a row with stored rows: support vectors, kernel ridge, Gaussian processes, neighbours."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from compression.dense import DENSE_CODINGS, Dense, Manner, coded, dense_coding, linked, lower_dense, rounded
from compression.features import Block, Blocks, matrix
from compression.tables import TableGraph

__all__ = ["KERNELS", "KernelModel", "NeighborModel", "Pairs"]

KERNELS = ("rbf", "poly", "sigmoid", "linear")


@final
@dataclass(frozen=True)
class Pairs:
    """Votes between pairs of classes, as scikit-learn makes scores of them.

    Args:
        classes: How many.
    """

    classes: int

    def lower(self, graph: TableGraph, name: str) -> str:
        """Write the probabilities that follow from one decision for each pair.

        A class has a score of its votes plus its summed decisions, squeezed below a third.
        """
        pairs = list(itertools.combinations(range(self.classes), 2))
        signs = np.zeros((len(pairs), self.classes), np.int8)
        for row, (first, second) in enumerate(pairs):
            signs[row, first], signs[row, second] = 1, -1
        belongs = graph.node("Cast", graph.weights(signs), to=1)
        is_first = graph.node("Cast", graph.node("Not", graph.node("Less", name, graph.constant(0))), to=1)
        votes = graph.node("Gemm", is_first, belongs, graph.weights(np.arange(self.classes, dtype=np.float32)))
        total = graph.node("MatMul", name, belongs)
        reach = graph.node("Mul", graph.node("Add", graph.node("Abs", total), graph.constant(1)), graph.constant(3))
        return graph.node("Softmax", graph.node("Add", votes, graph.node("Div", total, reach)))


@final
@dataclass(frozen=True, eq=False)
class KernelModel:
    """Sums of kernels: k(x, vectors) @ weight + bias.

    Args:
        vectors: Stored rows, float64, shape (n_vectors, n_features).
        last: What is made of the kernels: weight (n_vectors, n_scores) and bias.
        kernel: One of KERNELS: exp(-gamma |x - v|^2), (gamma x v + offset)^degree, tanh(gamma x v + offset), x v.
        gamma: See kernel.
        offset: See kernel.
        degree: See kernel.
        link: As in `compression.dense.linked`, or pairs of classes.
    """

    vectors: np.ndarray
    last: Dense
    kernel: str
    gamma: float
    offset: float
    degree: float
    link: str | Pairs
    codings: tuple[str, ...] = DENSE_CODINGS

    def lower(self, graph: TableGraph, blocks: Blocks, manner: Manner, /) -> tuple[str, KernelModel]:
        """Write one matrix product with all vectors, the kernel, and one product with the weights."""
        chosen = dense_coding(manner.coding)
        factor = {"rbf": 2 * self.gamma, "linear": 1.0}.get(self.kernel, self.gamma)
        slopes = self.vectors.T * factor
        held = rounded(slopes, chosen).astype(np.float64).T / factor
        name = matrix(graph, blocks)
        products = ["Gemm", name, coded(graph, slopes, chosen)]
        if self.kernel == "rbf":
            products.append(graph.weights((-self.gamma * (held**2).sum(axis=1)).astype(np.float32)))
        elif self.kernel != "linear":
            products.append(graph.constant(self.offset))
        else:
            products[0] = "MatMul"
        kernels = self._bent(graph, graph.node(*products), name)
        scores, layers = lower_dense(
            graph, (Block.whole(kernels, len(held)),), [self.last], replace(manner, folds=True)
        )
        model = replace(self, vectors=held, last=layers[0])
        return (
            self.link.lower(graph, scores) if isinstance(self.link, Pairs) else linked(graph, scores, self.link)
        ), model

    def _bent(self, graph: TableGraph, products: str, name: str) -> str:
        if self.kernel == "rbf":
            length = graph.node("ReduceSum", graph.node("Mul", name, name), graph.integers([1]))
            return graph.node("Exp", graph.node("Sub", products, graph.node("Mul", length, graph.constant(self.gamma))))
        if self.kernel == "poly":
            return graph.node("Pow", products, graph.constant(self.degree))
        return graph.node("Tanh", products) if self.kernel == "sigmoid" else products


@final
@dataclass(frozen=True, eq=False)
class NeighborModel:
    """The mean of what the nearest stored rows have, by Euclidean distance.

    Args:
        rows: Stored, float64, shape (n_stored, n_features).
        targets: Class index or value of each, shape (n_stored,).
        neighbors: How many are asked.
        classes: How many there are; 0 for values.
    """

    rows: np.ndarray
    targets: np.ndarray
    neighbors: int
    classes: int
    codings: tuple[str, ...] = DENSE_CODINGS

    def lower(self, graph: TableGraph, blocks: Blocks, manner: Manner, /) -> tuple[str, NeighborModel]:
        """Write distances without the part that all stored rows share, TopK, and the mean."""
        chosen = dense_coding(manner.coding)
        center = self.rows.mean(axis=0)  # products of numbers far from zero would drown the differences
        slopes = -2 * (self.rows - center).T
        held = rounded(slopes, chosen).astype(np.float64).T / -2
        shift = graph.node("Sub", matrix(graph, blocks), graph.weights(center.astype(np.float32)))
        lengths = graph.weights((held**2).sum(axis=1).astype(np.float32))
        distances = graph.node("Gemm", shift, coded(graph, slopes, chosen), lengths)
        nearest = graph.nearest(distances, self.neighbors)
        is_small = 0 < self.classes <= 256
        stored = graph.weights(self.targets.astype(np.uint8 if is_small else np.float32))
        found = graph.node("Gather", graph.node("Cast", stored, to=1) if is_small else stored, nearest)
        if self.classes:
            known = graph.weights(np.arange(self.classes, dtype=np.float32))
            each = graph.node("Equal", graph.node("Unsqueeze", found, graph.integers([2])), known)
            total = graph.node("ReduceSum", graph.node("Cast", each, to=1), graph.integers([1]), keepdims=0)
        else:
            total = graph.node("ReduceSum", found, graph.integers([1]))
        mean = graph.node("Div", total, graph.constant(self.neighbors))
        return mean, replace(self, rows=held + center)
