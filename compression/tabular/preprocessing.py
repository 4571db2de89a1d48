"""Preparing the columns of a table: frozen steps, each lowered to plain operators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, final

import numpy as np

from compression.features import Block, Blocks, assembled, chosen, gathered, matrix, scaled, width
from compression.tables import TableGraph
from compression.tabular.categories import missing, round_down, text_of
from engine.loaders.columns import canonical_text

__all__ = [
    "Affine",
    "Apply",
    "Chain",
    "Clip",
    "Fill",
    "Indicate",
    "Normalize",
    "Power",
    "Products",
    "Project",
    "Ramps",
    "Select",
    "Step",
    "Threshold",
    "Union",
]

TINY = 1e-37  # instead of a norm of zero; above the smallest normal float32


class Step(Protocol):
    """Something that makes features of features. Frozen data, as fitted."""

    def lower(self, graph: TableGraph, blocks: Blocks, /) -> Blocks:
        """Write what is needed and return the new features."""


@final
@dataclass(frozen=True, eq=False)
class Select:
    """Some of the features, in this order."""

    features: tuple[int, ...]

    def lower(self, _: TableGraph, blocks: Blocks, /) -> Blocks:
        """Nothing is written yet."""
        return chosen(blocks, self.features)


@final
@dataclass(frozen=True, eq=False)
class Affine:
    """Feature x scale + shift: standard, min-max, robust and max-abs scaling. float64, shapes (n_features,)."""

    scale: np.ndarray
    shift: np.ndarray

    def lower(self, _: TableGraph, blocks: Blocks, /) -> Blocks:
        """Nothing is written yet; a linear layer takes it into its weights."""
        return scaled(blocks, self.scale, self.shift)


@final
@dataclass(frozen=True, eq=False)
class Clip:
    """Values outside a range are set to its ends."""

    low: float
    high: float

    def lower(self, graph: TableGraph, blocks: Blocks, /) -> Blocks:
        """Write Max and Min, which keep NaN."""
        bounded = graph.node("Max", matrix(graph, blocks), graph.constant(self.low))
        return (Block.whole(graph.node("Min", bounded, graph.constant(self.high)), width(blocks)),)


@final
@dataclass(frozen=True, eq=False)
class Ramps:
    """How far a value has come from one number to another: 0 before the first, 1 behind the second.

    Args:
        low: Of each feature, float64, shape (n_features,).
        high: Likewise, above it.
    """

    low: np.ndarray
    high: np.ndarray

    def lower(self, graph: TableGraph, blocks: Blocks, /) -> Blocks:
        """Write a difference and a product: as one scale and shift, large numbers would lose what tells them apart."""
        away = graph.node("Sub", matrix(graph, blocks), _row(graph, self.low))
        share = Block.whole(graph.node("Mul", away, _row(graph, 1 / (self.high - self.low))), len(self.low))
        return Clip(0.0, 1.0).lower(graph, (share,))


@final
@dataclass(frozen=True, eq=False)
class Fill:
    """Missing values are replaced.

    Args:
        values: One a feature: numbers, or texts for text features.
        missing: What is replaced: NaN, which is "" among texts; or a number or text that stands for it.
    """

    values: tuple[float | str, ...]
    missing: float | str = math.nan

    def lower(self, graph: TableGraph, blocks: Blocks, /) -> Blocks:
        """Write Where; scale and shift stay apart, since NaN is NaN before and after them."""
        made, begin = [], 0
        for block in blocks:
            values = self.values[begin : begin + len(block.columns)]
            begin += len(values)
            made.append((self._filled_texts if block.is_text else self._filled)(graph, block, values))
        return tuple(made)

    def _filled_texts(self, graph: TableGraph, block: Block, values: Sequence[float | str]) -> Block:
        name = gathered(graph, block)
        texts = [canonical_text(value) for value in (values[:1] if len(set(values)) == 1 else values)]
        is_missing = graph.node("Equal", name, graph.texts([text_of(self.missing)]))
        return Block.whole(graph.node("Where", is_missing, graph.texts(texts), name), len(values), is_text=True)

    def _filled(self, graph: TableGraph, block: Block, values: Sequence[float | str]) -> Block:
        missing, numbers = float(self.missing), np.array(values, np.float64)
        if not math.isnan(missing) or not block.scale.all():
            block = Block.whole(matrix(graph, (block,)), len(values))
        name = gathered(graph, block)
        if math.isnan(missing):
            is_missing = graph.node("IsNaN", name)
        else:
            is_missing = graph.node("Equal", name, graph.constant(missing))
        filled = graph.node("Where", is_missing, _row(graph, (numbers - block.shift) / block.scale), name)
        return Block(filled, len(values), tuple(range(len(values))), False, block.scale, block.shift)


@final
@dataclass(frozen=True, eq=False)
class Indicate:
    """One where a value is missing (NaN, or an empty text), else zero."""

    def lower(self, graph: TableGraph, blocks: Blocks, /) -> Blocks:
        """Write the comparison; scale and shift do not matter."""
        return tuple(
            Block.whole(graph.node("Cast", missing(graph, block), to=1), len(block.columns)) for block in blocks
        )


@final
@dataclass(frozen=True, eq=False)
class Threshold:
    """One where a value is above the threshold, else zero."""

    threshold: float

    def lower(self, graph: TableGraph, blocks: Blocks, /) -> Blocks:
        """Write one comparison."""
        limit = graph.constant(float(round_down(np.array([self.threshold]))[0]))
        above = graph.node("Greater", matrix(graph, blocks), limit)
        return (Block.whole(graph.node("Cast", above, to=1), width(blocks)),)


@final
@dataclass(frozen=True, eq=False)
class Normalize:
    """Each row divided by its norm, `l1` or `l2`; a row of zeros stays."""

    norm: str

    def lower(self, graph: TableGraph, blocks: Blocks, /) -> Blocks:
        """Write the norm and one division."""
        name = matrix(graph, blocks)
        parts = graph.node("Abs", name) if self.norm == "l1" else graph.node("Mul", name, name)
        total = graph.node("ReduceSum", parts, graph.integers([1]))
        length = total if self.norm == "l1" else graph.node("Sqrt", total)
        bounded = graph.node("Max", length, graph.constant(TINY))
        return (Block.whole(graph.node("Div", name, bounded), width(blocks)),)


@final
@dataclass(frozen=True, eq=False)
class Products:
    """Polynomial features of degree 2 at most: constants, features and products of two, in any order.

    Args:
        factors: Of each new feature, the features that are multiplied: none, one or two.
    """

    factors: tuple[tuple[int, ...], ...]

    def lower(self, graph: TableGraph, blocks: Blocks, /) -> Blocks:
        """Write one product of all first with all second factors."""
        block = Block.whole(matrix(graph, blocks), width(blocks))
        pairs = [factors for factors in self.factors if len(factors) == 2]
        parts = [block]
        if pairs:
            left, right = (gathered(graph, block.take([pair[side] for pair in pairs])) for side in (0, 1))
            parts.append(Block.whole(graph.node("Mul", left, right), len(pairs)))
        parts.append(scaled((block.take([0]),), np.zeros(1), np.ones(1))[0])
        places, constant = iter(range(block.size, block.size + len(pairs))), block.size + len(pairs)
        wanted = [
            next(places) if len(factors) == 2 else factors[0] if factors else constant for factors in self.factors
        ]
        return chosen(tuple(parts), wanted)


@final
@dataclass(frozen=True, eq=False)
class Project:
    """A matrix product: principal components and the like. float64, shapes (n_in, n_out), (n_out,)."""

    weight: np.ndarray
    bias: np.ndarray

    def lower(self, graph: TableGraph, blocks: Blocks, /) -> Blocks:
        """Write Gemm, with what is to be multiplied and added before it in its weights."""
        name, scale, shift = assembled(graph, blocks)
        weight = graph.weights((scale[:, None] * self.weight).astype(np.float32))
        bias = graph.weights((self.bias + shift @ self.weight).astype(np.float32))
        return (Block.whole(graph.node("Gemm", name, weight, bias), self.weight.shape[1]),)


@final
@dataclass(frozen=True, eq=False)
class Power:
    """Yeo-Johnson's or Box and Cox's transformation, without the scaling that often follows.

    Source: Yeo and Johnson, A new family of power transformations, 2000; Box and Cox, An analysis of transformations,
    1964. Exponents at which they become logarithms are left out.

    Args:
        exponents: Of each feature, float64, shape (n_features,); neither 0 nor, if both signs are taken, 2.
        takes_negative: Whether it is Yeo-Johnson's, which takes numbers of both signs.
    """

    exponents: np.ndarray
    takes_negative: bool

    def lower(self, graph: TableGraph, blocks: Blocks, /) -> Blocks:
        """Write one power for positive numbers and one for negative ones; what is to be subtracted stays apart."""
        name, size = matrix(graph, blocks), width(blocks)
        zero, one = graph.constant(0), graph.constant(1)
        shift = -1 / self.exponents
        if self.takes_negative:
            rest = 2 - self.exponents
            above = graph.node("Add", graph.node("Max", name, zero), one)
            below = graph.node("Sub", one, graph.node("Min", name, zero))
            lost = graph.node("Mul", graph.node("Pow", below, _row(graph, rest)), _row(graph, 1 / rest))
            shift = shift + 1 / rest
        else:
            above = name
        made = graph.node("Mul", graph.node("Pow", above, _row(graph, self.exponents)), _row(graph, 1 / self.exponents))
        if self.takes_negative:
            made = graph.node("Sub", made, lost)
        return scaled((Block.whole(made, size),), np.ones(size), shift)


@final
@dataclass(frozen=True, eq=False)
class Apply:
    """Operators of one input each, one after the other, such as Log or Sqrt, after adding a number."""

    operators: tuple[str, ...]
    added: float = 0.0

    def lower(self, graph: TableGraph, blocks: Blocks, /) -> Blocks:
        """Write them."""
        size = width(blocks)
        name = matrix(graph, scaled(blocks, np.ones(size), np.full(size, self.added)))
        for operator in self.operators:
            name = graph.node(operator, name)
        return (Block.whole(name, size),)


@final
@dataclass(frozen=True, eq=False)
class Chain:
    """Steps one after the other."""

    steps: tuple[Step, ...]

    def lower(self, graph: TableGraph, blocks: Blocks, /) -> Blocks:
        """Write them in order."""
        for step in self.steps:
            blocks = step.lower(graph, blocks)
        return blocks


@final
@dataclass(frozen=True, eq=False)
class Union:
    """Several steps on some features each, their results side by side.

    Args:
        branches: Features and what is made of them.
    """

    branches: tuple[tuple[tuple[int, ...], Step], ...]

    def lower(self, graph: TableGraph, blocks: Blocks, /) -> Blocks:
        """Write the branches in order."""
        made: Blocks = ()
        for features, step in self.branches:
            made += step.lower(graph, chosen(blocks, features))
        return made


def _row(graph: TableGraph, values: np.ndarray) -> str:
    if (values == values[0]).all():
        return graph.constant(float(values[0]))
    return graph.weights(values.astype(np.float32))
