"""Writing arrays of numbers in the fewest bytes that keep every one of them."""

from __future__ import annotations

import numpy as np

from compression.graph import Graph

__all__ = ["numbers_bytes", "write_numbers"]

CAST_BYTES = 25  # what the operator that decodes a smaller type takes
KINDS = ("int4", "int8", "uint8", "float16")
BYTES = {"int4": 0.5, "int8": 1, "uint8": 1, "float16": 2}


def write_numbers(graph: Graph, array: np.ndarray) -> str:
    """Add an array and return its name, float32, in the smallest element type that holds all its values.

    Example:
        >>> graph = Graph()
        >>> name = write_numbers(graph, np.arange(200.0))
        >>> graph.tensors[0].data_type, graph.nodes[0].op_type
        (2, 'Cast')
    """
    exact = np.asarray(array, np.float32)
    kind = _kind(exact)
    if kind == "float32":
        return graph.weights(exact)
    stored = exact.astype("int8" if kind == "int4" else kind)
    return graph.node("Cast", graph.weights(stored, kind), to=1)


def numbers_bytes(array: np.ndarray) -> float:
    """Return how many bytes `write_numbers` takes for an array, its name and shape apart."""
    exact = np.asarray(array, np.float32)
    kind = _kind(exact)
    return 4.0 * exact.size if kind == "float32" else BYTES[kind] * exact.size + CAST_BYTES


def _kind(exact: np.ndarray) -> str:
    best, kind = 4.0 * exact.size, "float32"
    for other in KINDS:
        size = BYTES[other] * exact.size + CAST_BYTES
        if size < best and _holds(other, exact):
            best, kind = size, other
    return kind


def _holds(kind: str, exact: np.ndarray) -> bool:
    if kind == "int4":
        return bool(((exact >= -8) & (exact <= 7) & (exact == np.rint(exact))).all())
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.array_equal(exact.astype(kind).astype(np.float32), exact))
