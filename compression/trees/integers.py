"""Writing whole numbers in few bytes: several to a word, in two planes, or frequent ones short and the others apart.

Whatever form is chosen, standard operators decode it, and ONNX Runtime folds them when it loads the file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, cached_property
from typing import final

import numpy as np

from compression.graph import Graph

__all__ = ["Numbers", "cost", "places_by_use", "with_literals", "written"]

WORDS = (("uint8", 8), ("int32", 31), ("int64", 63))  # element types of words, and the bits of them that are used
TENSOR, CAST, DECODING, PLANES, LITERALS = (
    10,
    26,
    75,
    60,
    130,
)  # bytes of tensors and nodes around the numbers, measured
FREQUENT = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 15, 18, 22, 28, 37, 51, 63)  # how many frequent ones to try as short


@final
@dataclass(frozen=True)
class Words:
    """One way to write numbers below a base: `digits` of them in each word.

    Args:
        base: At least 2.
        kind: Element type of a word, or `varint` for numbers of one to five bytes, seven bits in each.
        digits: Numbers in a word.
        overhead: Bytes around the words.
    """

    base: int
    kind: str
    digits: int
    overhead: int

    def count(self, numbers: int, multiple: int = 1) -> int:
        """Return how many words hold the numbers, filled up to a multiple of so many numbers."""
        step = multiple // math.gcd(multiple, self.digits)
        return math.ceil(math.ceil(numbers / self.digits) / step) * step

    def size(self, numbers: int) -> int:
        """Return how many bytes the numbers take."""
        width = _varint(self.base - 1) if self.kind == "varint" else int(np.dtype(self.kind).itemsize)
        return self.count(numbers) * width + self.overhead

    def write(self, graph: Graph, values: np.ndarray) -> str:
        """Write numbers that fill their words, and their decoding; return the decoded tensor, int32, flat."""
        if self.kind == "varint":
            return graph.integers(values.tolist(), "int32")
        rows = len(values) // self.digits
        powers = [self.base**place for place in range(self.digits)]
        words = (values.reshape(rows, self.digits) @ np.array(powers)).astype(self.kind)
        if self.digits == 1:
            return graph.node("Cast", graph.weights(words), to=6)
        kind = "int64" if self.kind == "int64" else "int32"
        whole = graph.weights(words.reshape(rows, 1))
        if self.kind == "uint8":
            whole = graph.node("Cast", whole, to=6)
        shifted = graph.node("Div", whole, graph.integers(powers, kind))
        flat = graph.node(
            "Reshape", graph.node("Mod", shifted, graph.integers([self.base], kind)), graph.integers([-1])
        )
        return graph.node("Cast", flat, to=6) if kind == "int64" else flat


@final
@dataclass(frozen=True, eq=False)
class Numbers:
    """Whole numbers, and the shortest way to write them.

    Args:
        values: Not negative, int, shape (n,).

    Example:
        >>> graph = Graph()
        >>> name = Numbers(np.arange(200) % 2).write(graph)
        >>> graph.nodes[-1].op_type
        'Reshape'
    """

    values: np.ndarray

    @property
    def size(self) -> int:
        """About how many bytes they take."""
        return self._short[0]

    def write(self, graph: Graph, *, multiple: int = 1, exact: bool = False) -> str:
        """Write the numbers and how they are decoded.

        Args:
            graph: Receives constants and nodes.
            multiple: What the decoded length must be a multiple of.
            exact: Whether to cut off what fills the last word.

        Returns:
            Name of the decoded numbers, int32, flat: n of them, then as a rule some of no meaning.
        """
        _, count = self._short
        if not count:
            return written(graph, self.values, self._base, multiple=multiple, exact=exact)
        symbols, place = self._by_use
        codes = np.minimum(place, count)
        table = np.concatenate([symbols[:count], [0], self.values[codes == count]])
        index = with_literals(graph, codes, count, multiple=multiple, exact=exact)
        return graph.node("Gather", written(graph, table, self._base), index)

    @property
    def _base(self) -> int:
        return int(self.values.max(initial=0)) + 1

    @cached_property
    def _by_use(self) -> tuple[np.ndarray, np.ndarray]:
        """Different numbers, the most frequent first, and the place of each number among them."""
        symbols, inverse, counts = np.unique(self.values, return_inverse=True, return_counts=True)
        order, place = places_by_use(counts)
        return symbols[order], place[inverse]

    @cached_property
    def _short(self) -> tuple[int, int]:
        """About how many bytes they take, and with how many frequent numbers written short; 0 for none."""
        symbols, place = self._by_use
        used = np.cumsum(np.bincount(place, minlength=1))
        sizes = {0: cost(len(place), self._base)}
        for count in FREQUENT:
            if count < len(symbols):
                rest = len(place) - int(used[count - 1])
                sizes[count] = cost(len(place), count + 1) + cost(count + 1 + rest, self._base) + LITERALS
        best = min(sizes, key=lambda count: sizes[count])
        return sizes[best], best


def with_literals(graph: Graph, codes: np.ndarray, escape: int, *, multiple: int = 1, exact: bool = False) -> str:
    """Write indices into a table of frequent entries followed by one unused entry and by all others in their order.

    Args:
        graph: Receives constants and nodes.
        codes: Index of a frequent entry, or `escape` for the next of the others, int, shape (n,).
        escape: Number of frequent entries.
        multiple: As in `Numbers.write`.
        exact: Likewise.

    Returns:
        Name of the indices, int32, flat, at least n.
    """
    short = written(graph, codes, escape + 1, multiple=multiple, exact=exact)
    escaped = graph.node("Cast", graph.node("Equal", short, graph.integers([escape], "int32")), to=6)
    rank = graph.node("CumSum", escaped, graph.integers([0], shape=()))
    return graph.node("Add", short, graph.node("Mul", rank, escaped))


def places_by_use(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return entries by how often they are used, the most used first, and the place of each entry in that order."""
    order = np.argsort(-counts, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return order, place


def written(graph: Graph, values: np.ndarray, base: int, *, multiple: int = 1, exact: bool = False) -> str:
    """Write numbers below a base all in one form; arguments and result as of `Numbers.write`."""
    *low, high = _form(len(values), base)[1]
    length = high.count(len(values), multiple) * high.digits
    padded = np.zeros(length, np.int64)
    padded[: len(values)] = values
    name = high.write(graph, padded // 256 if low else padded)
    if low:
        upper = graph.node("Mul", name, graph.integers([256], "int32"))
        name = graph.node("Add", low[0].write(graph, padded % 256), upper)
    if exact and length > len(values):
        name = graph.node("Slice", name, graph.integers([0]), graph.integers([len(values)]))
    return name


def cost(count: int, base: int) -> int:
    """Return about how many bytes so many numbers below a base take in one form."""
    return _form(count, base)[0]


@cache
def _form(count: int, base: int) -> tuple[int, tuple[Words, ...]]:
    """Return size and form: one of words, or two of words for the low and the high plane."""
    forms: list[tuple[int, tuple[Words, ...]]] = [(words.size(count), (words,)) for words in _words(max(base, 2))]
    if base > 256:
        low = Words(256, "uint8", 1, CAST)
        forms += [
            (low.size(count) + words.size(count) + PLANES, (low, words)) for words in _words(max(-(-base // 256), 2))
        ]
    return min(forms, key=lambda form: form[0])


@cache
def _words(base: int) -> tuple[Words, ...]:
    made = [Words(base, "varint", 1, TENSOR)]
    for kind, bits in WORDS:
        most = int(bits / math.log2(base) + 1e-9)
        for digits in sorted({min(1, most), most} - {0}):
            powers = sum(_varint(base**place) for place in range(digits))
            made.append(Words(base, kind, digits, CAST if digits == 1 else DECODING + CAST + powers))
    return tuple(made)


def _varint(number: int) -> int:
    """Return how many bytes a number takes in seven bits a byte."""
    return max(math.ceil(number.bit_length() / 7), 1)
