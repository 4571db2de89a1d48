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

__all__ = ["CODINGS", "Coding", "coding_named", "decode"]


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
    """

    name: str
    bits: float
    low: int = 0
    high: int = 0
    offset: float = 0.0
    digits: int = 0

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
    )
}


def coding_named(name: str) -> Coding:
    """Return a coding.

    Raises:
        ValueError: If there is none of that name; it lists them.
    """
    if name not in CODINGS:
        raise ValueError(f"No coding '{name}'{did_you_mean(name, CODINGS)} Codings: {', '.join(CODINGS)}.")
    return CODINGS[name]


def decode(graph: Graph, coding: Coding, values: np.ndarray) -> tuple[str, int]:
    """Write codes or floats and the operators that make float32 of them.

    Args:
        graph: Receives constants and nodes.
        coding: Of these weights.
        values: Codes, int, or floats, shape (n,).

    Returns:
        Name of the decoded tensor, float32, and its length, which is n rounded up to whole bytes.
    """
    if coding.name == "float32":
        return graph.constant(values.astype(np.float32)), len(values)
    if coding.name == "float16":
        return graph.node("Cast", graph.constant(values.astype(np.float16)), to=1), len(values)
    if not coding.digits:
        return graph.node("Cast", graph.constant(values.astype(np.int8), coding.name), to=1), len(values)
    return _decode_digits(graph, coding, values)


def _decode_digits(graph: Graph, coding: Coding, values: np.ndarray) -> tuple[str, int]:
    base, digits = coding.high + 1, coding.digits
    rows = math.ceil(len(values) / digits)
    padded = np.zeros(rows * digits, np.int64)
    padded[: len(values)] = values
    powers = [base**place for place in range(digits)]
    packed = (padded.reshape(rows, digits) @ np.array(powers)).astype(np.uint8)
    whole = graph.node("Cast", graph.constant(packed.reshape(rows, 1)), to=6)
    shifted = graph.node("Div", whole, graph.integers(powers, "int32"))
    codes = graph.node("Mod", shifted, graph.integers([base], "int32"))
    floats = graph.node("Cast", codes, to=1)
    centred = graph.node("Sub", floats, graph.constant(np.array([coding.offset], np.float32)))
    return graph.node("Reshape", centred, graph.integers([-1])), rows * digits
