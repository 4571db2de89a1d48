"""How long a file gets without writing it: a graph that adds up bytes where another one collects nodes and tensors."""

from __future__ import annotations

import itertools
import json
import string
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, final

import numpy as np
from onnx import FunctionProto, ModelProto

from compression.graph import LOCAL_DOMAIN, NEEDS, Graph

__all__ = ["Ruler"]

UNSIGNED = (1 << 64) - 1  # negative numbers are written as if they had no sign
LOCAL_IMPORT = 7  # bytes of the import of the domain of local functions


@final
class Ruler(Graph):
    """Takes what a `Graph` takes; its model is as long as that of a graph, and holds nothing.

    Names are given out in the same order, so they have the same lengths. What a node takes beside its names is asked of
    the library that writes it, once for each kind of node.

    Example:
        >>> ruler = Ruler()
        >>> out = ruler.node("Relu", "x", output="y")
        >>> len(ruler.model({"x": ("float32", (None, 4))}, {"y": ("float32", (None, 4))}, {}))
        63
    """

    def __init__(self) -> None:
        super().__init__()
        self._names = map(_name, itertools.count())
        self._lengths: list[int] = []  # of nodes, as they lie in a graph
        self._tensor_bytes = self._function_bytes = 0
        self._letters: dict[object, str] = {}  # names of functions

    @property
    def nodes(self) -> list[Any]:
        """The lengths of the nodes so far."""
        return self._lengths

    def node(self, operator: str, *inputs: str, output: str | None = None, **attributes: object) -> str:
        """Add a node with one output and return the output's name."""
        name = output or next(self._names)
        self._add(operator, "", attributes, (*inputs, name))
        return name

    def split(self, source: str, sizes: Sequence[int], *, axis: int = 0) -> list[str]:
        """Cut a tensor along an axis, counted from the first, into parts of these sizes."""
        if len(sizes) == 1:
            return [source]
        names = [next(self._names) for _ in sizes]
        self._add("Split", "", {"axis": axis} if axis else {}, (source, self.integers(sizes), *names))
        return names

    def weights(self, array: np.ndarray, kind: str | None = None) -> str:
        """Add trained values."""
        raw = (array.size + 1) // 2 if kind in NEEDS else array.nbytes
        return self._tensor(array.shape, 1 + _varint(raw) + raw)

    def integers(self, values: Sequence[int], kind: str = "int64", shape: Sequence[int] | None = None) -> str:
        """Add whole numbers, or find equal ones."""
        dims = (len(values),) if shape is None else tuple(shape)
        key = (f"varint {kind}", dims, repr(list(values)).encode())
        if key not in self._constants:
            packed = sum(_varint(int(value) & UNSIGNED) for value in values)
            self._constants[key] = self._tensor(dims, 1 + _varint(packed) + packed if packed else 0)
        return self._constants[key]

    def function(self, key: object, nodes: Sequence[Any], inputs: Sequence[str], output: str) -> None:
        """Define a model-local function once; its nodes are lengths, as `nodes` gives them."""
        if key not in self._letters:
            self._letters[key] = letter = string.ascii_letters[len(self._letters)]
            self._function_bytes += _framed(_function_length(letter, tuple(inputs), output) + sum(nodes), 2)

    def call(self, key: object, *inputs: str) -> str:
        """Call a local function and return the name of its output."""
        name = next(self._names)
        self._add(self._letters[key], LOCAL_DOMAIN, {}, (*inputs, name))
        return name

    def model(
        self,
        inputs: Mapping[str, tuple[str, tuple[int | None, ...]]],
        outputs: Mapping[str, tuple[str, tuple[int | None, ...]]],
        metadata: Mapping[str, object],
    ) -> bytes:
        """Return as many zeros as the finished file has bytes."""
        rest, graph = _frame(tuple(inputs.items()), tuple(outputs.items()), json.dumps(metadata))
        graph += sum(self._lengths) + self._tensor_bytes
        return bytes(rest + _framed(graph, 1) + self._function_bytes + (LOCAL_IMPORT if self._letters else 0))

    def _add(self, operator: str, domain: str, attributes: Mapping[str, Any], names: Sequence[str]) -> None:
        told = tuple([(k, tuple(v) if isinstance(v, list) else v) for k, v in attributes.items()]) if attributes else ()
        length = _bare_node(operator, domain, told) + 2 * len(names) + len("".join(names))
        self._lengths.append(2 + length if length < 128 else _framed(length, 1))

    def _tensor(self, dims: Sequence[int], data: int) -> str:
        name = next(self._names)
        self._tensor_bytes += _framed(4 + len(name) + sum([1 + _varint(side) for side in dims]) + data, 1)
        return name


@lru_cache(maxsize=4096)
def _name(number: int) -> str:
    """Return the name that a graph gives out at this place."""
    return _names_until(1 << number.bit_length())[number]


@lru_cache(maxsize=32)
def _names_until(count: int) -> tuple[str, ...]:
    graph = Graph()
    return tuple(graph.split("x", (0,) * count) if count > 1 else [graph.node("Relu", "x")])


@lru_cache(maxsize=4096)
def _bare_node(operator: str, domain: str, attributes: tuple[tuple[str, Any], ...]) -> int:
    """Return the length of a node without the names that it takes and gives."""
    graph = Graph()
    graph.node(operator, **dict(attributes))
    node = graph.nodes[0]
    node.ClearField("output")
    if domain:
        node.domain = domain
    return int(node.ByteSize())


@lru_cache(maxsize=1024)
def _function_length(letter: str, inputs: tuple[str, ...], output: str) -> int:
    """Return the length of a local function without its nodes."""
    function = FunctionProto(name=letter, domain=LOCAL_DOMAIN, input=inputs, output=[output])
    function.opset_import.add(version=1)
    return int(function.ByteSize())


@lru_cache(maxsize=64)
def _frame(inputs: tuple[Any, ...], outputs: tuple[Any, ...], metadata: str) -> tuple[int, int]:
    """Return the length of a model without its graph, and that of a graph without nodes and tensors."""
    empty = ModelProto.FromString(Graph().model(dict(inputs), dict(outputs), json.loads(metadata)))
    graph = int(empty.graph.ByteSize())
    return int(empty.ByteSize()) - _framed(graph, 1), graph


def _varint(number: int) -> int:
    """Return the bytes of a whole number, seven bits each."""
    return 1 if number < 128 else (number.bit_length() + 6) // 7


def _framed(length: int, tag: int) -> int:
    """Return the bytes of a message inside another one, with its tag and its length."""
    return tag + _varint(length) + length
