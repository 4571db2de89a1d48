"""Categories and bins: texts or numbers that are compared with what is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from compression.features import Block, Blocks, chosen, gathered, matrix, scaled, width
from compression.tables import TableGraph
from engine.errors import ArtifactError
from engine.loaders.columns import canonical_text

__all__ = ["Above", "Bins", "Category", "Encode", "OneHot", "missing", "round_down", "round_up", "text_of"]

STAND_IN = 3e38  # for NaN, which equals nothing, where NaN is a category
NEVER = "\0"  # a text that no cell holds

Category = str | float | None


@final
@dataclass(frozen=True, eq=False)
class OneHot:
    """A feature a category, one where the value is it; all zero for an unknown value.

    Args:
        categories: Of each feature, those that get a feature of their own, in order; None is missing.
        rest: Whether a feature gets one more that is one where no category is met; all False if empty.
    """

    categories: tuple[tuple[Category, ...], ...]
    rest: tuple[bool, ...] = ()

    def lower(self, graph: TableGraph, blocks: Blocks, /) -> Blocks:
        """Write one comparison for all columns of a tensor: each column as often as it has categories."""
        made: Blocks = ()
        begin = 0
        for block in blocks:
            part = slice(begin, begin + len(block.columns))
            begin = part.stop
            if any(self.categories[part]) or any(self.rest[part]):
                made += self._compared(graph, block, part)
        return made

    def _compared(self, graph: TableGraph, block: Block, part: slice) -> Blocks:
        categories, size = self.categories[part], len(block.columns)
        flags = _matches(graph, block, categories)
        owners = [place for place, known in enumerate(categories) for _ in known]
        found = Block.whole(flags, len(owners))
        if not any(self.rest[part]):
            return (found,)
        met = Block.whole(_by_owner(graph, flags, owners, np.ones(len(owners)), size), size)
        both = (found, *scaled((met,), -np.ones(size), np.ones(size)))
        order: list[int] = []
        for place, has_rest in enumerate(self.rest[part]):
            order += [at for at, owner in enumerate(owners) if owner == place]
            order += [len(owners) + place] if has_rest else []
        return chosen(both, order)


@final
@dataclass(frozen=True, eq=False)
class Encode:
    """A number for each category: ordinal codes, or means of the target.

    Args:
        categories: Of each feature; None is missing.
        codes: The number of each category.
        unknown: The number of any other value, one a feature; NaN in all of them or in none.
        keeps_missing: Whether a missing value becomes NaN, one a feature.
    """

    categories: tuple[tuple[Category, ...], ...]
    codes: tuple[tuple[float, ...], ...]
    unknown: tuple[float, ...]
    keeps_missing: tuple[bool, ...]

    def lower(self, graph: TableGraph, blocks: Blocks, /) -> Blocks:
        """Write the comparison with all categories and a product that sums up what belongs to one column."""
        made, begin = [], 0
        for block in blocks:
            part = slice(begin, begin + len(block.columns))
            begin = part.stop
            made.append(self._encoded(graph, block, part))
        return tuple(made)

    def _encoded(self, graph: TableGraph, block: Block, part: slice) -> Block:
        categories, size = self.categories[part], len(block.columns)
        unknown, keeps = np.array(self.unknown[part]), self.keeps_missing[part]
        base = np.nan_to_num(unknown)
        owners = [place for place, known in enumerate(categories) for _ in known]
        codes = np.array([code for known in self.codes[part] for code in known])
        flags = _matches(graph, block, categories)
        name = _by_owner(graph, flags, owners, codes - base[owners], size)
        if np.isnan(unknown).any():  # nothing matched: 0 / 0
            name = graph.node("Div", name, _by_owner(graph, flags, owners, np.ones(len(owners)), size))
        made = Block(name, size, tuple(range(size)), False, np.ones(size), base)
        if not any(keeps):
            return made
        plain = matrix(graph, (made,))
        kept = graph.node("Where", missing(graph, block, keeps), graph.constant(math.nan), plain)
        return Block.whole(kept, size)


@final
@dataclass(frozen=True, eq=False)
class Bins:
    """The number of edges of its feature that a value reaches.

    Args:
        edges: Of each feature, ascending, without the two ends.
    """

    edges: tuple[tuple[float, ...], ...]

    def lower(self, graph: TableGraph, blocks: Blocks, /) -> Blocks:
        """Write one comparison with all edges; each edge is rounded so that it decides as in float64."""
        block = Block.whole(matrix(graph, blocks), width(blocks))
        owners = [place for place, known in enumerate(self.edges) for _ in known]
        if not owners:
            return scaled((block,), np.zeros(block.size), np.zeros(block.size))
        limits = round_up(np.array([edge for known in self.edges for edge in known]))
        below = graph.node("Less", gathered(graph, block.take(owners)), graph.weights(limits))
        flags = graph.node("Cast", graph.node("Not", below), to=1)
        return (Block.whole(_by_owner(graph, flags, owners, np.ones(len(owners)), block.size), block.size),)


@final
@dataclass(frozen=True, eq=False)
class Above:
    """A feature an edge, one where the value is greater than it; NaN is greater than nothing.

    Args:
        edges: Of each feature, float32.
    """

    edges: tuple[tuple[float, ...], ...]

    def lower(self, graph: TableGraph, blocks: Blocks, /) -> Blocks:
        """Write one comparison with all edges, in float16 as far as that is exact."""
        block = Block.whole(matrix(graph, blocks), width(blocks))
        owners = [place for place, known in enumerate(self.edges) for _ in known]
        limits = np.array([edge for known in self.edges for edge in known], np.float32)
        name = gathered(graph, block.take(owners))
        with np.errstate(over="ignore"):
            is_half = limits.astype(np.float16).astype(np.float32) == limits
        if is_half.all():
            written = graph.node("Cast", graph.weights(limits.astype(np.float16)), to=1)
        else:
            written = graph.weights(limits)
        return (Block.whole(graph.node("Cast", graph.node("Greater", name, written), to=1), len(owners)),)


def missing(graph: TableGraph, block: Block, columns: Sequence[bool] = ()) -> str:
    """Compare with what is missing, in all columns or in some of them: bool, shape (n_rows, n_columns)."""
    if block.is_text:
        texts = [""] if all(columns) else ["" if asked else NEVER for asked in columns]
        return graph.node("Equal", gathered(graph, block), graph.texts(texts))
    is_missing = graph.node("IsNaN", gathered(graph, block))
    if all(columns):
        return is_missing
    asked_too = graph.node("Cast", graph.weights(np.array(columns, np.uint8)), to=9)
    return graph.node("And", is_missing, asked_too)


def text_of(value: Category) -> str:
    """Return a category as a file has it: canonical text, "" for missing."""
    return "" if value is None or value != value else canonical_text(value)  # NaN alone differs from itself


def round_down(values: np.ndarray) -> np.ndarray:
    """Return the largest float32 that is not above each float64: `x <= t` is then the same for every float32 x."""
    near = values.astype(np.float32)
    return np.where(near > values, np.nextafter(near, np.float32(-np.inf)), near)


def round_up(values: np.ndarray) -> np.ndarray:
    """Return the smallest float32 that is not below each float64: `x >= t` is then the same for every float32 x."""
    return -round_down(-values)


def _matches(graph: TableGraph, block: Block, categories: Sequence[Sequence[Category]]) -> str:
    """Compare each column with its categories: float32, shape (n_rows, n_categories of all columns)."""
    if block.is_text:
        known = [[text_of(value) for value in values] for values in categories]
        twice = [text for texts in known for text in texts if texts.count(text) > 1]
        if twice:
            raise ArtifactError(f"Categories of a column must differ as texts, got {twice[0]!r} for several of them.")
        vocabulary = graph.texts([text for texts in known for text in texts])
    else:
        name = matrix(graph, (block,))
        if any(value is None for values in categories for value in values):
            name = graph.node("Where", graph.node("IsNaN", name), graph.constant(STAND_IN), name)
        block = Block.whole(name, len(block.columns))
        numbers = [STAND_IN if value is None else float(value) for values in categories for value in values]
        vocabulary = graph.weights(np.array(numbers, np.float32))
    if block.size > 1:  # a single column is compared with all categories by broadcasting
        block = block.take([place for place, values in enumerate(categories) for _ in values])
    return graph.node("Cast", graph.node("Equal", gathered(graph, block), vocabulary), to=1)


def _by_owner(graph: TableGraph, flags: str, owners: Sequence[int], values: np.ndarray, size: int) -> str:
    """Sum flags x values over the flags of each owner: float32, shape (n_rows, size)."""
    is_whole = bool((values == np.rint(values)).all())
    fits = {np.uint8: (0, 255), np.int8: (-128, 127)} if is_whole else {}
    small = [
        kind for kind, (low, high) in fits.items() if low <= values.min(initial=0) and values.max(initial=0) <= high
    ]
    is_small, kind = bool(small), small[0] if small else np.float32
    if size == 1:
        written = graph.weights(values.astype(kind).reshape(-1, 1))
        return graph.node("MatMul", flags, graph.node("Cast", written, to=1) if is_small else written)
    rows = graph.integers(range(size), shape=(size, 1))
    belongs = graph.node("Cast", graph.node("Equal", rows, graph.integers(owners)), to=1)
    if not (values == 1).all():
        written = graph.weights(values.astype(kind))
        belongs = graph.node("Mul", belongs, graph.node("Cast", written, to=1) if is_small else written)
    return graph.node("MatMul", flags, graph.node("Transpose", belongs))
