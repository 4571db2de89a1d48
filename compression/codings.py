"""How weights lie in a file, and the standard operators that decode them when it is loaded.

All weights of one coding lie in one tensor, decoded once and then cut into layers. ONNX Runtime folds the whole
sub-graph at load, so a decoded model runs at float32 speed (and takes float32 memory).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np

from compression.graph import Graph
from engine.errors import did_you_mean

__all__ = ["CODINGS", "PALETTES", "Coding", "coding_named", "decode", "decode_palette"]


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
    def is_integer(self) -> bool:
        """Whether weights are codes with scales."""
        return self.high > self.low

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


def decode(graph: Graph, coding: Coding, values: np.ndarray, kept: int) -> tuple[str, int]:
    """Write codes or floats and the operators that make float32 of them.

    Args:
        graph: Receives constants and nodes.
        coding: Of these weights.
        values: Codes, int, or floats, shape (n,).
        kept: How many of them a sparse coding writes; at least as many as are not zero.

    Returns:
        Name of the decoded tensor, float32, and its length, which is n rounded up to whole bytes.
    """
    if coding.name == "float32":
        return graph.weights(values.astype(np.float32)), len(values)
    if coding.name == "float16":
        return graph.node("Cast", graph.weights(values.astype(np.float16)), to=1), len(values)
    if coding.density < 1:
        return _decode_bitmap(graph, coding, values, kept)
    if not coding.digits:
        return graph.node("Cast", graph.weights(values.astype(np.int8), coding.name), to=1), len(values)
    return _decode_digits(graph, coding, values)


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
    return graph.node("Reshape", graph.node("Gather", values, places), graph.integers([-1])), length


def _decode_digits(graph: Graph, coding: Coding, values: np.ndarray) -> tuple[str, int]:
    digits, length = _digits(graph, values, coding.high + 1, coding.digits)
    floats = graph.node("Cast", digits, to=1)
    centred = graph.node("Sub", floats, graph.constant(coding.offset))
    return graph.node("Reshape", centred, graph.integers([-1])), length


def _decode_bitmap(graph: Graph, coding: Coding, values: np.ndarray, kept: int) -> tuple[str, int]:
    """Write a bit for each position and the codes of those that stay; the k-th one takes the k-th code."""
    stays = values != 0
    stays[np.flatnonzero(~stays)[: kept - int(stays.sum())]] = True
    codes = np.concatenate([[0], values[stays]]).astype(np.int8)
    digits, length = _digits(graph, stays.astype(np.int64), 2, 8)
    bits = graph.node("Reshape", digits, graph.integers([-1]))
    places = graph.node("Mul", graph.node("CumSum", bits, graph.integers([0], shape=())), bits)
    floats = graph.node("Cast", graph.weights(codes, "int4" if coding.reach < 8 else "int8"), to=1)
    return graph.node("Gather", floats, places), length


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
