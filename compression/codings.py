"""How weights lie in a file, and the standard operators that decode them when it is loaded.

Weights of one coding lie in one flat tensor, decoded once and then cut into layers; or in tensors of their own shapes,
where that is shorter. ONNX Runtime folds the whole sub-graph at load, so a decoded model runs at float32 speed (and
takes float32 memory).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from compression.graph import Graph
from engine.errors import did_you_mean

__all__ = [
    "CODINGS",
    "PALETTES",
    "RESHAPE",
    "SCALES_APART",
    "TURN",
    "Coding",
    "coding_named",
    "decode",
    "decode_all",
    "decode_palette",
    "in_seven_bits",
]

# Bytes, names of one letter: nodes; a tensor without dimensions, an axis that is not the first; and a tensor for scales
# of another shape, with its cast and its split.
CAST, RESHAPE, TURN, SPLIT, PART = 25, 20, 19, 26, 5
TENSOR, AXIS, SCALES_APART = 11, 13, 68


@final
@dataclass(frozen=True)
class Coding:
    """One way to write weights.

    Integer codings have a scale for each output channel: weight = (code - offset) x scale.

    Args:
        name: As in genes, cards and settings.
        bits: A weight, in the file.
        low: Smallest code.
        high: Largest code.
        offset: Subtracted from a code; a half where the levels lie on both sides of zero without touching it.
        digits: How many codes a byte holds, for codings decoded by division; 0 for the others.
        density: Share of the weights of a layer that stay; the others are zero and cost one bit, as all positions do.
    """

    name: str
    bits: float
    low: int = 0
    high: int = 0
    offset: float = 0.0
    digits: int = 0
    density: float = 1.0

    def kept(self, count: int) -> int:
        """Return how many of the weights of a layer stay."""
        return math.ceil(self.density * count)

    @property
    def is_cast(self) -> bool:
        """Whether a cast alone decodes it, element by element; or nothing at all."""
        return self.density == 1 and not self.digits

    @property
    def is_integer(self) -> bool:
        """Whether weights are codes with scales."""
        return self.high > self.low

    @property
    def unit(self) -> float:
        """What a step of whole numbers stands for, in scales: a half where levels lie half a step off zero."""
        return 0.5 if self.offset % 1 else 1.0

    def whole(self, codes: np.ndarray) -> np.ndarray:
        """Return codes without their offset, in units, int8: what integer kernels multiply."""
        return np.asarray((np.asarray(codes, np.float32) - self.offset) / self.unit).astype(np.int8)

    @property
    def reach(self) -> float:
        """Largest magnitude that a code stands for, in scales."""
        return self.high - self.offset


CODINGS = {
    coding.name: coding
    for coding in (
        Coding("float32", 32),
        Coding("float16", 16),
        Coding("int8", 8, -127, 127),
        Coding("int4", 4, -7, 7),
        Coding("int2", 2, 0, 3, 1.5, digits=4),
        Coding("ternary", 1.6, 0, 2, 1.0, digits=5),
        Coding("sparse4", 2, -7, 7, density=0.25),
        Coding("sparse8", 3, -127, 127, density=0.25),
    )
}

# A code is the place of a value in a short list, which lies in the file as float16. Only for weights that are trained
# already: what learns on a fixed grid takes one of the codings above.
PALETTES = {coding.name: coding for coding in (Coding("palette2", 2, 0, 3, digits=4), Coding("palette4", 4, 0, 15))}


def coding_named(name: str) -> Coding:
    """Return a coding.

    Raises:
        ValueError: If there is none of that name; it lists them.
    """
    if name not in CODINGS:
        raise ValueError(f"No coding '{name}'{did_you_mean(name, CODINGS)} Codings: {', '.join(CODINGS)}.")
    return CODINGS[name]


def in_seven_bits(coding: Coding) -> Coding:
    """Return a coding whose codes integer kernels multiply exactly on every processor.

    Where there are no instructions for it (x86 without VNNI), two products of an unsigned and a signed byte are added
    in sixteen bits: 2 x 255 x 64 fits, 2 x 255 x 127 does not.
    """
    return replace(coding, low=max(coding.low, -64), high=min(coding.high, 64))


def decode(graph: Graph, coding: Coding, values: np.ndarray, kept: int, *, is_whole: bool = False) -> tuple[str, int]:
    """Write codes or floats and the operators that make float32 of them; or int8, for integer kernels.

    Args:
        graph: Receives constants and nodes.
        coding: Of these weights.
        values: Codes, int, or floats, shape (n,); any shape where a cast decodes them.
        kept: How many of them a sparse coding writes; at least as many as are not zero.
        is_whole: Whether `Coding.whole` of the codes is decoded, int8.

    Returns:
        Name of the decoded tensor, float32 or int8, and its length, which is n rounded up to whole bytes.
    """
    if coding.name == "float32":
        return graph.weights(values.astype(np.float32)), len(values)
    if coding.name == "float16":
        return graph.node("Cast", graph.weights(values.astype(np.float16)), to=1), len(values)
    if coding.density < 1:
        return _decode_bitmap(graph, coding, values, kept, is_whole)
    if not coding.digits:
        return _cast(graph, values.astype(np.int8), coding.name, is_whole), len(values)
    return _decode_digits(graph, coding, values, is_whole)


def decode_all(
    graph: Graph,
    coding: Coding,
    arrays: Mapping[str, np.ndarray],
    axes: Mapping[str, int],
    *,
    kept: int,
    reshaping: int,
    is_whole: bool = False,
) -> tuple[dict[str, str], bool]:
    """Write the weights of several layers in one coding: flat and cut, or in their own shapes, whichever is shorter.

    In their own shapes, weights that differ in the length of one axis only lie in one tensor, which is cut along it.

    Args:
        graph: Receives constants and nodes.
        coding: Of these weights.
        arrays: By layer.
        axes: By layer, the axis along which its weight may lie beside others: 0, or -1 for the last.
        kept: As in `decode`.
        reshaping: Bytes that it takes to reshape the flat weights, without the shapes.
        is_whole: As in `decode`.

    Returns:
        Name of each decoded weight, float32 or int8; and whether these are flat.
    """
    groups: dict[tuple[int, tuple[int, ...]], list[str]] = {}
    for name, array in arrays.items():
        axis = axes[name]
        groups.setdefault((axis, array.shape[1:] if axis == 0 else array.shape[:-1]), []).append(name)
    shapes = Counter(array.shape for array in arrays.values())
    flat = _overhead(coding, len(arrays), 1) + reshaping + sum(7 + 2 * len(shape) for shape in shapes)
    apart = [
        _overhead(coding, len(members), 1 + len(rest)) + AXIS * (len(members) > 1 and axis != 0)
        for (axis, rest), members in groups.items()
    ]
    names: dict[str, str] = {}
    if not coding.is_cast or flat < sum(apart):
        whole = np.concatenate([array.reshape(-1) for array in arrays.values()])
        decoded, length = decode(graph, coding, whole, kept, is_whole=is_whole)
        sizes = [array.size for array in arrays.values()]
        rest = [length - len(whole)] if length > len(whole) else []
        return dict(zip(arrays, graph.split(decoded, [*sizes, *rest]), strict=False)), True
    for (axis, _), members in groups.items():
        whole = np.concatenate([arrays[name] for name in members], axis)
        decoded, _ = decode(graph, coding, whole, kept, is_whole=is_whole)
        sizes = [arrays[name].shape[axis] for name in members]
        names |= dict(zip(members, graph.split(decoded, sizes, axis=axis % whole.ndim), strict=True))
    return names, False


def decode_palette(graph: Graph, coding: Coding, codes: np.ndarray, codebook: np.ndarray) -> tuple[str, int]:
    """Write places in a list of values, the list, and the operators that make float32 of them.

    Args:
        graph: Receives constants and nodes.
        coding: One of `PALETTES`.
        codes: Places in the list, int, shape (n,).
        codebook: Values, float16, shape (at most coding.high + 1,).

    Returns:
        Name of the decoded tensor, float32, and its length, which is n rounded up to whole bytes.
    """
    values = graph.node("Cast", graph.weights(codebook.astype(np.float16)), to=1)
    if not coding.digits:
        places = graph.node("Cast", graph.weights(codes.astype(np.int8), "uint4"), to=6)
        return graph.node("Gather", values, places), len(codes)
    places, length = _digits(graph, codes, coding.high + 1, coding.digits)
    return graph.node("Reshape", graph.node("Gather", values, places), graph.integers([length])), length


def _overhead(coding: Coding, parts: int, dimensions: int) -> int:
    """Return about how many bytes a tensor that is cut into parts takes beside its values, its shapes and its names."""
    cast = 0 if coding.name == "float32" else CAST
    return TENSOR + 2 * dimensions + cast + (SPLIT + PART * parts if parts > 1 else 0)


def _cast(graph: Graph, codes: np.ndarray, kind: str, is_whole: bool) -> str:
    """Write codes as they are, and the cast to the type that is wanted."""
    written = graph.weights(codes, kind)
    if is_whole:
        return written if kind == "int8" else graph.node("Cast", written, to=3)
    return graph.node("Cast", written, to=1)


def _decode_digits(graph: Graph, coding: Coding, values: np.ndarray, is_whole: bool) -> tuple[str, int]:
    digits, length = _digits(graph, values, coding.high + 1, coding.digits)
    if is_whole:
        if coding.unit < 1:
            digits = graph.node("Mul", digits, graph.integers([round(1 / coding.unit)], "int32"))
        centred = graph.node("Sub", digits, graph.integers([round(coding.offset / coding.unit)], "int32"))
        return graph.node("Reshape", graph.node("Cast", centred, to=3), graph.integers([length])), length
    floats = graph.node("Cast", digits, to=1)
    centred = graph.node("Sub", floats, graph.constant(coding.offset))
    return graph.node("Reshape", centred, graph.integers([length])), length


def _decode_bitmap(graph: Graph, coding: Coding, values: np.ndarray, kept: int, is_whole: bool) -> tuple[str, int]:
    """Write a bit for each position and the codes of those that stay; the k-th one takes the k-th code."""
    stays = values != 0
    stays[np.flatnonzero(~stays)[: kept - int(stays.sum())]] = True
    codes = np.concatenate([[0], values[stays]]).astype(np.int8)
    digits, length = _digits(graph, stays.astype(np.int64), 2, 8)
    bits = graph.node("Reshape", digits, graph.integers([length]))
    places = graph.node("Mul", graph.node("CumSum", bits, graph.integers([0], shape=())), bits)
    given = _cast(graph, codes, "int4" if coding.reach < 8 else "int8", is_whole)
    return graph.node("Gather", given, places), length


def _digits(graph: Graph, values: np.ndarray, base: int, digits: int) -> tuple[str, int]:
    """Write several digits a byte, and the division that takes them apart: int32, shape (n_bytes, digits)."""
    rows = math.ceil(len(values) / digits)
    padded = np.zeros(rows * digits, np.int64)
    padded[: len(values)] = values
    powers = [base**place for place in range(digits)]
    packed = (padded.reshape(rows, digits) @ np.array(powers)).astype(np.uint8)
    whole = graph.node("Cast", graph.weights(packed.reshape(rows, 1)), to=6)
    shifted = graph.node("Div", whole, graph.integers(powers, "int32"))
    return graph.node("Mod", shifted, graph.integers([base], "int32")), rows * digits
