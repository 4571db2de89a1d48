"""Probabilities made honest: a model's answers bent so that they are as often right as they say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np

from compression.dense import Manner, Model
from compression.features import Blocks
from compression.tables import TableGraph

__all__ = ["SMALLEST", "Calibrated", "Constant", "TwoShares"]

SMALLEST = 1e-6  # probability whose logarithm is taken instead of a smaller one's


@final
@dataclass(frozen=True, eq=False)
class Calibrated:
    """softmax(slope x log(probabilities) + shift).

    Source: Guo et al., On calibration of modern neural networks, 2017 (temperature and vector scaling); here one slope
    for all classes and a shift for each.

    Args:
        model: What answers with probabilities.
        slope: Of their logarithms.
        shift: Of each class, float64, shape (n_classes,).
    """

    model: Model
    slope: float
    shift: np.ndarray

    @property
    def codings(self) -> tuple[str, ...]:
        """Those of the model."""
        return self.model.codings

    def lower(self, graph: TableGraph, blocks: Blocks, manner: Manner, /) -> tuple[str, Calibrated]:
        """Write the model, logarithms, one product, one sum and Softmax."""
        name, held = self.model.lower(graph, blocks, manner)
        scores = graph.node("Log", graph.node("Max", name, graph.constant(SMALLEST)))
        scores = graph.node("Mul", scores, graph.constant(self.slope))
        scores = graph.node("Add", scores, graph.weights(self.shift.astype(np.float32)))
        return graph.node("Softmax", scores), replace(self, model=held)

    def bent(self, probabilities: np.ndarray) -> np.ndarray:
        """Return what becomes of probabilities, shape (n_rows, n_classes)."""
        scores = self.slope * np.log(np.maximum(probabilities, SMALLEST)) + self.shift
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@final
@dataclass(frozen=True, eq=False)
class Constant:
    """The same answer for every row.

    Args:
        answer: float64, shape (n_outputs,).
    """

    answer: np.ndarray
    codings: tuple[str, ...] = ("float32",)

    def lower(self, graph: TableGraph, blocks: Blocks, _: Manner, /) -> tuple[str, Constant]:
        """Write the answer once for each row of any column."""
        block = blocks[0]
        column = graph.node("Gather", block.tensor, graph.integers([block.columns[0]]), axis=1)
        rows = graph.node("Shape", column)
        return graph.node("Expand", graph.weights(self.answer.astype(np.float32).reshape(1, -1)), rows), self


@final
@dataclass(frozen=True, eq=False)
class TwoShares:
    """The probabilities of two classes, from a model that tells that of the second."""

    model: Model

    @property
    def codings(self) -> tuple[str, ...]:
        """Those of the model."""
        return self.model.codings

    def lower(self, graph: TableGraph, blocks: Blocks, manner: Manner, /) -> tuple[str, TwoShares]:
        """Write what is left of one, and both side by side."""
        name, held = self.model.lower(graph, blocks, manner)
        return graph.node("Concat", graph.node("Sub", graph.constant(1), name), name, axis=1), TwoShares(held)
