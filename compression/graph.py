"""Writing small ONNX files: a few typed builders, the shortest names, nothing that need not be there."""

from __future__ import annotations

import itertools
import json
import string
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx
from onnx import AttributeProto, FunctionProto, NodeProto, TensorProto

__all__ = ["LOCAL_DOMAIN", "Graph", "packed_nibbles"]

LOCAL_DOMAIN = "l"
BASE_OPSET = 13  # the lowest in which Softmax, Split and Squeeze have the form written here
TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "float16": 10, "uint4": 21, "int4": 22, "str": 8}
NEEDS = {"int4": (21, 10), "uint4": (21, 10)}  # element type -> lowest opset and IR version


def packed_nibbles(codes: np.ndarray) -> bytes:
    """Pack four-bit codes, int8, shape (n,), two a byte, low half first, as ONNX does."""
    padded = np.zeros(len(codes) + len(codes) % 2, np.uint8)
    padded[: len(codes)] = codes.astype(np.int8).view(np.uint8) & 15
    return (padded[0::2] | (padded[1::2] << 4)).tobytes()


class Graph:
    """One model under construction.

    Equal constants of the structure are written once; trained values are not compared. Names have one or two letters.
    Opset and IR version are the lowest that have the types in use.

    Example:
        >>> graph = Graph()
        >>> out = graph.node("Relu", "x", output="y")
        >>> len(graph.model({"x": ("float32", (None, 4))}, {"y": ("float32", (None, 4))}, {}))
        63
    """

    def __init__(self) -> None:
        self._names = _names()
        self._nodes: list[NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._tensors: list[TensorProto] = []
        self._functions: dict[object, FunctionProto] = {}
        self._opset, self._ir = BASE_OPSET, 7

    @property
    def nodes(self) -> list[NodeProto]:
        """The nodes so far."""
        return self._nodes

    @property
    def tensors(self) -> list[TensorProto]:
        """The tensors so far."""
        return self._tensors

    @property
    def opset(self) -> int:
        """The lowest opset that has the types in use so far."""
        return self._opset

    def node(self, operator: str, *inputs: str, output: str | None = None, **attributes: object) -> str:
        """Add a node with one output and return the output's name."""
        name = output or next(self._names)
        self._nodes.append(_node(operator, inputs, [name], attributes))
        return name

    def split(self, source: str, sizes: Sequence[int], *, axis: int = 0) -> list[str]:
        """Cut a tensor along an axis, counted from the first, into parts of these sizes."""
        if len(sizes) == 1:
            return [source]
        names = [next(self._names) for _ in sizes]
        self._nodes.append(_node("Split", [source, self.integers(sizes)], names, {"axis": axis} if axis else {}))
        return names

    def weights(self, array: np.ndarray, kind: str | None = None) -> str:
        """Add trained values; never shared with equal ones, so that the length of a file does not depend on them.

        Args:
            array: Values; for kinds `int4` and `uint4` codes, int8.
            kind: Element type to write; by default the array's own.
        """
        kind = kind or str(array.dtype)
        raw = packed_nibbles(array.reshape(-1)) if kind in NEEDS else np.ascontiguousarray(array).tobytes()
        opset, ir = NEEDS.get(kind, (0, 0))
        self._opset, self._ir = max(self._opset, opset), max(self._ir, ir)
        name = next(self._names)
        self._tensors.append(TensorProto(name=name, dims=array.shape, data_type=TYPES[kind], raw_data=raw))
        return name

    def constant(self, value: float) -> str:
        """Add a number that the structure needs, float32, shape (1,), or find the equal one."""
        key = ("float32", (1,), np.float32(value).tobytes())
        if key not in self._constants:
            self._constants[key] = self.weights(np.array([value], np.float32))
        return self._constants[key]

    def integers(self, values: Sequence[int], kind: str = "int64", shape: Sequence[int] | None = None) -> str:
        """Add whole numbers as varints, which take one byte each below 128 (raw int64 takes eight)."""
        dims = (len(values),) if shape is None else tuple(shape)
        key = (f"varint {kind}", dims, repr(list(values)).encode())
        if key not in self._constants:
            name = next(self._names)
            field = {"int64": "int64_data", "int32": "int32_data"}[kind]
            self._tensors.append(
                TensorProto(name=name, dims=dims, data_type=TYPES[kind], **{field: [int(v) for v in values]})
            )
            self._constants[key] = name
        return self._constants[key]

    def function(self, key: object, nodes: Sequence[NodeProto], inputs: Sequence[str], output: str) -> None:
        """Define a model-local function once; `call` uses it under the same key."""
        if key not in self._functions:
            self._ir = max(self._ir, 8)
            name = string.ascii_letters[len(self._functions)]
            self._functions[key] = FunctionProto(
                name=name, domain=LOCAL_DOMAIN, input=inputs, output=[output], node=nodes
            )

    def call(self, key: object, *inputs: str) -> str:
        """Call a local function and return the name of its output."""
        name = next(self._names)
        self._nodes.append(
            NodeProto(op_type=self._functions[key].name, domain=LOCAL_DOMAIN, input=inputs, output=[name])
        )
        return name

    def model(
        self,
        inputs: Mapping[str, tuple[str, tuple[int | None, ...]]],
        outputs: Mapping[str, tuple[str, tuple[int | None, ...]]],
        metadata: Mapping[str, object],
    ) -> bytes:
        """Return the finished file.

        Args:
            inputs: Type and shape by name; None for a free dimension.
            outputs: Likewise.
            metadata: Texts, or containers that are written as compact JSON.
        """
        made = onnx.ModelProto(ir_version=self._ir)
        made.opset_import.add(version=self._opset)
        if self._functions:
            made.opset_import.add(domain=LOCAL_DOMAIN, version=1)
            for function in self._functions.values():
                function.opset_import.add(version=self._opset)
            made.functions.extend(self._functions.values())
        made.graph.name = "g"
        made.graph.node.extend(self._nodes)
        made.graph.initializer.extend(self._tensors)
        for place, entries in ((made.graph.input, inputs), (made.graph.output, outputs)):
            for name, (kind, shape) in entries.items():
                place.append(_value(name, kind, shape))
        for name, value in metadata.items():
            text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
            made.metadata_props.add(key=name, value=text)
        content: bytes = made.SerializeToString(deterministic=True)
        return content


def _node(operator: str, inputs: Sequence[str], outputs: Sequence[str], attributes: Mapping[str, object]) -> NodeProto:
    node = NodeProto(op_type=operator, input=inputs, output=outputs)
    for name, value in attributes.items():
        if isinstance(value, int):
            node.attribute.append(AttributeProto(name=name, type=AttributeProto.INT, i=value))
        elif isinstance(value, float):
            node.attribute.append(AttributeProto(name=name, type=AttributeProto.FLOAT, f=value))
        else:
            numbers = [int(number) for number in value]  # type: ignore[attr-defined]
            node.attribute.append(AttributeProto(name=name, type=AttributeProto.INTS, ints=numbers))
    return node


def _value(name: str, kind: str, shape: tuple[int | None, ...]) -> onnx.ValueInfoProto:
    info = onnx.ValueInfoProto(name=name)
    info.type.tensor_type.elem_type = TYPES[kind]
    for size in shape:
        dimension = info.type.tensor_type.shape.dim.add()
        if size is not None:
            dimension.dim_value = size
    return info


def _names() -> Iterator[str]:
    letters = [letter for letter in string.ascii_letters if letter not in "xyc"]
    yield from letters
    for length in itertools.count(2):
        yield from map("".join, itertools.product(string.ascii_letters, repeat=length))
