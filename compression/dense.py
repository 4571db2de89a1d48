"""Dense layers: multi-layer perceptrons, and the one layer of every linear model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, final

import numpy as np

from compression.codings import Coding, coding_named, decode
from compression.features import Blocks, assembled, matrix, unscaled
from compression.tables import TableGraph
from engine.errors import ArtifactError

__all__ = [
    "DENSE_CODINGS",
    "LINKS",
    "Dense",
    "DenseModel",
    "Folded",
    "Manner",
    "Model",
    "coded",
    "dense_coding",
    "linked",
    "lower_dense",
    "quantized",
    "rounded",
]

DENSE_CODINGS = ("float32", "float16", "int8", "int4")
ACTIVATIONS = {"identity": None, "relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid"}
LINKS = ("identity", "exp", "sigmoid", "softmax", "one_vs_rest", "clipped")
SMALLEST_HALF, LARGEST_HALF = 2.0**-14, 65504.0  # between them float16 keeps 11 bits
SHRINKS = np.linspace(0.5, 1.0, 26)  # of the scale that reaches the largest weight: outliers may be cut


@final
@dataclass(frozen=True, eq=False)
class Dense:
    """One layer: activation(x @ weight + bias).

    Args:
        weight: float64, shape (n_in, n_out).
        bias: float64, shape (n_out,).
        activation: `identity`, `relu`, `tanh` or `logistic`.
    """

    weight: np.ndarray
    bias: np.ndarray
    activation: str = "identity"


@final
@dataclass(frozen=True)
class Manner:
    """How a model is written.

    Args:
        coding: Of the weights, one of DENSE_CODINGS that the model can have.
        folds: Whether scale and shift of the features become part of the weights: smaller, and exact as long as
            values are not far from zero compared with their spread.
    """

    coding: str
    folds: bool


class Model(Protocol):
    """What makes probabilities or values of features. Frozen data, as fitted."""

    @property
    def codings(self) -> tuple[str, ...]:
        """Those of DENSE_CODINGS that the weights can have."""

    def lower(self, graph: TableGraph, blocks: Blocks, manner: Manner, /) -> tuple[str, Model]:
        """Write the model.

        Args:
            graph: Receives constants and nodes.
            blocks: Features, as many as the model takes.
            manner: Coding and folding.

        Returns:
            Name of the output, float32, shape (n_rows, n_outputs); and the model as the file holds it, after
            folding and rounding, which takes the same features.
        """


@final
@dataclass(frozen=True, eq=False)
class Folded:
    """A model whose weights have taken over the scale and shift of its features."""

    model: Model

    @property
    def codings(self) -> tuple[str, ...]:
        """Those of the model."""
        return self.model.codings

    def lower(self, graph: TableGraph, blocks: Blocks, manner: Manner, /) -> tuple[str, Model]:
        """Write the model for features with nothing to be multiplied or added."""
        name, held = self.model.lower(graph, unscaled(blocks), Manner(manner.coding, folds=False))
        return name, Folded(held)


@final
@dataclass(frozen=True, eq=False)
class DenseModel:
    """Layers and what follows them.

    Args:
        layers: In order.
        link: One of LINKS, see `linked`.
    """

    layers: tuple[Dense, ...]
    link: str
    codings: tuple[str, ...] = DENSE_CODINGS

    def lower(self, graph: TableGraph, blocks: Blocks, manner: Manner, /) -> tuple[str, Model]:
        """Write the layers and the link."""
        name, layers = lower_dense(graph, blocks, self.layers, manner)
        held = DenseModel(layers, self.link)
        return linked(graph, name, self.link), Folded(held) if manner.folds else held


def linked(graph: TableGraph, name: str, link: str) -> str:
    """Make probabilities or values of scores.

    Args:
        graph: Receives the nodes.
        name: Scores, float32, shape (n_rows, n_scores).
        link: `identity` and `exp` for values; `sigmoid` for one score of two classes; `softmax`; `one_vs_rest` for a
            sigmoid of each class, divided by their sum; `clipped` likewise with (clip(score, -1, 1) + 1) / 2.
    """
    if link == "identity":
        return name
    if link == "sigmoid":
        both = graph.node("Mul", name, graph.weights(np.array([-1, 1], np.float32)))
        return graph.node("Sigmoid", both)
    if link == "one_vs_rest":  # by logarithms, since all sigmoids may be zero in float32
        name = graph.node("Neg", graph.node("Softplus", graph.node("Neg", name)))
        return graph.node("Softmax", name)
    if link == "clipped":
        return _clipped(graph, name)
    return graph.node({"exp": "Exp", "softmax": "Softmax"}[link], name)


def lower_dense(
    graph: TableGraph, blocks: Blocks, layers: Sequence[Dense], manner: Manner
) -> tuple[str, tuple[Dense, ...]]:
    """Write layers one after the other.

    Args:
        graph: Receives constants and nodes.
        blocks: Features, as many as the first layer takes.
        layers: In order.
        manner: Coding, where integer codes have a scale for each output; and folding, into the first layer.

    Returns:
        Name of the last layer's output, float32, shape (n_rows, n_out); and the layers as the file holds them, after
        folding and rounding.
    """
    chosen = dense_coding(manner.coding)
    if manner.folds:
        name, scale, shift = assembled(graph, blocks)
        first = layers[0]
        folded = Dense(scale[:, None] * first.weight, first.bias + shift @ first.weight, first.activation)
        layers = [folded, *layers[1:]]
    else:
        name = matrix(graph, blocks)
    held = []
    for layer in layers:
        weight, bias = rounded(layer.weight, chosen), _bias(layer.bias, chosen)
        inputs = [name, coded(graph, layer.weight, chosen)]
        if bias.any():
            inputs.append(_float32(graph, bias))
        name = graph.node("Gemm" if len(inputs) == 3 else "MatMul", *inputs)
        operator = ACTIVATIONS[layer.activation]
        name = graph.node(operator, name) if operator else name
        held.append(Dense(weight.astype(np.float64), bias.astype(np.float64), layer.activation))
    return name, tuple(held)


def dense_coding(name: str) -> Coding:
    """Return a coding of dense layers.

    Raises:
        ArtifactError: If it is not one of DENSE_CODINGS.
    """
    if name not in DENSE_CODINGS:
        raise ArtifactError(f"coding must be one of {', '.join(DENSE_CODINGS)} for a fitted model, got {name!r}.")
    return coding_named(name)


def quantized(weight: np.ndarray, coding: Coding) -> tuple[np.ndarray, np.ndarray]:
    """Return codes and scales of an integer coding with the smallest squared error of each output.

    Args:
        weight: float64, shape (n_in, n_out).
        coding: An integer coding.

    Returns:
        Codes, int64, shape (n_in, n_out), and scales, float16 (float32 where they are too small for it), (n_out,).

    Example:
        >>> codes, scale = quantized(np.array([[0.5], [-1.0]]), coding_named("int8"))
        >>> codes.ravel().tolist(), round(float(scale[0]) * 127, 2)
        ([64, -127], 1.0)
    """
    reach = np.maximum(np.abs(weight).max(axis=0), 1e-30) / coding.reach
    best = np.full(weight.shape[1], np.inf)
    kind = _kind(np.outer([SHRINKS[0], SHRINKS[-1]], reach))  # one for all that is tried
    scale = reach.astype(kind)
    for shrink in SHRINKS[::-1]:
        tried = (shrink * reach).astype(kind)
        error = ((_codes(weight, tried, coding) * tried.astype(np.float64) - weight) ** 2).sum(axis=0)
        scale = np.where(error < best, tried, scale)
        best = np.minimum(best, error)
    return _codes(weight, scale, coding), scale


def rounded(weight: np.ndarray, coding: Coding) -> np.ndarray:
    """Return the weights that a file of this coding holds, float32, shape (n_in, n_out)."""
    if coding.is_integer:
        codes, scale = quantized(weight, coding)
        return codes.astype(np.float32) * scale.astype(np.float32)
    if coding.name == "float16":
        factor = _factor(weight)
        return (weight * factor).astype(np.float16).astype(np.float32) * np.float32(1 / factor)
    return weight.astype(np.float32)


def coded(graph: TableGraph, weight: np.ndarray, coding: Coding) -> str:
    """Write weights, shape (n_in, n_out), and return the name of what `rounded` returns."""
    if coding.is_integer:
        codes, scale = quantized(weight, coding)
        name, _ = decode(graph, coding, codes, codes.size)
        return graph.node("Mul", name, _float32(graph, scale))
    if coding.name == "float16":
        factor = _factor(weight)
        name, _ = decode(graph, coding, weight * factor, weight.size)
        return name if factor == 1 else graph.node("Mul", name, graph.constant(1 / factor))
    return decode(graph, coding, weight, weight.size)[0]


def _float32(graph: TableGraph, values: np.ndarray) -> str:
    """Write float16 or float32 values and return their name as float32."""
    name = graph.weights(values)
    return graph.node("Cast", name, to=1) if values.dtype == np.float16 else name


def _bias(bias: np.ndarray, coding: Coding) -> np.ndarray:
    """Return a bias as it is written: float16 where little is lost beside the rounding of the weights."""
    return bias.astype(np.float16 if coding.name != "float32" and np.abs(bias).max() < 2 else np.float32)


def _codes(weight: np.ndarray, scale: np.ndarray, coding: Coding) -> np.ndarray:
    return np.clip(np.rint(weight / scale.astype(np.float64)), coding.low, coding.high).astype(np.int64)


def _kind(values: np.ndarray) -> np.dtype:
    """Return float16 where it keeps 11 bits of each of these positive values, else float32."""
    fits = bool((values >= SMALLEST_HALF).all() and (values <= LARGEST_HALF).all())
    return np.dtype(np.float16 if fits else np.float32)


def _factor(weight: np.ndarray) -> float:
    """Return a power of two that lifts weights to where float16 keeps 11 bits; 1 where they are there already."""
    sizes = np.abs(weight[weight != 0])
    if not len(sizes) or (sizes.min() >= SMALLEST_HALF and sizes.max() <= LARGEST_HALF):
        return 1.0
    return float(2.0 ** np.floor(np.log2(LARGEST_HALF / sizes.max())))


def _clipped(graph: TableGraph, name: str) -> str:
    bounded = graph.node("Min", graph.node("Max", name, graph.constant(-1)), graph.constant(1))
    parts = graph.node("Add", bounded, graph.constant(1))
    total = graph.node("ReduceSum", parts, graph.integers([1]))
    # No class has a share: all have the same.
    parts = graph.node("Add", parts, graph.node("Cast", graph.node("Equal", total, graph.constant(0)), to=1))
    return graph.node("Div", parts, graph.node("ReduceSum", parts, graph.integers([1])))
