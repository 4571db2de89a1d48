"""Linear models, and classifiers that are quadratic in the features: their scores as plain operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from compression.dense import (
    DENSE_CODINGS,
    Dense,
    DenseModel,
    Folded,
    Manner,
    Model,
    coded,
    dense_coding,
    lower_dense,
    rounded,
)
from compression.features import Blocks, assembled, matrix
from compression.tables import TableGraph

__all__ = ["GaussianClasses", "QuadraticClasses", "linear_model"]


def linear_model(coefficients: np.ndarray, intercept: np.ndarray | float, link: str) -> DenseModel:
    """Return a linear model as one dense layer.

    Args:
        coefficients: Shape (n_scores, n_features) or (n_features,).
        intercept: Shape (n_scores,), or a number.
        link: See `compression.dense.linked`.

    Example:
        >>> model = linear_model(np.array([2.0, -1.0]), 0.5, "identity")
        >>> model.layers[0].weight.shape, model.layers[0].bias.tolist()
        ((2, 1), [0.5])
    """
    weight = np.atleast_2d(np.asarray(coefficients, np.float64)).T
    bias = np.broadcast_to(np.asarray(intercept, np.float64).reshape(-1), (weight.shape[1],))
    return DenseModel((Dense(weight, bias.copy()),), link)


@final
@dataclass(frozen=True, eq=False)
class GaussianClasses:
    """Gaussian naive Bayes: each class has independent normal features.

    Scores are sums over (x - mean)^2 rather than the shorter x^2 a + x b + c, which loses all digits in float32 where
    means are large beside deviations.

    Args:
        mean: float64, shape (n_classes, n_features).
        variance: float64, shape (n_classes, n_features).
        prior: Of each class, float64, shape (n_classes,).
    """

    mean: np.ndarray
    variance: np.ndarray
    prior: np.ndarray
    codings: tuple[str, ...] = ("float32", "float16")  # codes of integers would move the means

    def lower(self, graph: TableGraph, blocks: Blocks, manner: Manner, /) -> tuple[str, Model]:
        """Write the scores and Softmax."""
        name, scale, shift = assembled(graph, blocks)
        folds = manner.folds and bool(scale.all())
        if not folds:
            name, scale, shift = matrix(graph, blocks), np.ones_like(scale), np.zeros_like(shift)
        chosen = dense_coding(manner.coding)
        mean = (self.mean - shift) / scale
        steepness = np.abs(scale) / np.sqrt(2 * self.variance)
        rows = graph.node("Unsqueeze", name, graph.integers([1]))
        away = graph.node("Sub", rows, coded(graph, mean, chosen))
        away = graph.node("Mul", away, coded(graph, steepness, chosen))
        total = graph.node("ReduceSum", graph.node("Mul", away, away), graph.integers([2]), keepdims=0)
        mean, steepness = rounded(mean, chosen).astype(np.float64), rounded(steepness, chosen).astype(np.float64)
        constant = np.log(self.prior) - 0.5 * np.log(self.variance).sum(axis=1)
        scores = graph.node("Sub", graph.weights((constant - constant.max()).astype(np.float32)), total)
        # The constant of a class stays as it was fitted: priors that belong to the rounded variances make up for it.
        variance = 0.5 / steepness**2
        prior = np.exp(constant + 0.5 * np.log(variance).sum(axis=1) - constant.max())
        held = GaussianClasses(mean, variance, prior)
        return graph.node("Softmax", scores), Folded(held) if folds else held


@final
@dataclass(frozen=True, eq=False)
class QuadraticClasses:
    """Quadratic discriminant analysis: each class has correlated normal features.

    The score of a class is constant - sum((x @ projection + bias)^2) over its directions.

    Args:
        projection: Of all classes side by side, float64, shape (n_features, n_directions of all classes).
        bias: float64, shape (n_directions of all classes,).
        constant: float64, shape (n_classes,).
    """

    projection: np.ndarray
    bias: np.ndarray
    constant: np.ndarray
    codings: tuple[str, ...] = DENSE_CODINGS

    def lower(self, graph: TableGraph, blocks: Blocks, manner: Manner, /) -> tuple[str, Model]:
        """Write one layer for all directions, squares, sums and Softmax."""
        layer = Dense(self.projection, self.bias)
        model, (first,) = lower_dense(graph, blocks, [layer], manner)
        classes = len(self.constant)
        shape = graph.integers([0, classes, self.projection.shape[1] // classes])
        squares = graph.node("Reshape", graph.node("Mul", model, model), shape)
        total = graph.node("ReduceSum", squares, graph.integers([2]), keepdims=0)
        constant = (self.constant - self.constant.max()).astype(np.float32)
        scores = graph.node("Sub", graph.weights(constant), total)
        held = QuadraticClasses(first.weight, first.bias, self.constant)
        return graph.node("Softmax", scores), Folded(held) if manner.folds else held
