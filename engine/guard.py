"""Reading model files that nobody trusts: size caps, an operator allow-list, no external data."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, TensorProto

from engine.errors import ArtifactError
from engine.extents import limits_of, size_problems
from engine.operators import KNOWN_PREFIXES, refusal

__all__ = ["MAX_ELEMENTS", "MAX_FILE_BYTES", "checked_model", "read_card", "read_file"]

MAX_FILE_BYTES = 256 * 2**20
MAX_CARD_BYTES = 4 * 2**20
MAX_CARD_DEPTH = 32
MAX_ELEMENTS = 2**28  # of one tensor in the file
MAX_RANK = 16
MAX_NODES = 100_000  # with local functions written out
MAX_DEPTH = 8  # of sub-graphs and of local functions that call each other
MAX_NAME = 4096  # characters
MAX_TEXT = 65536  # bytes of one text in an attribute or a tensor
MAX_METADATA = 2**20  # characters

# Bits of an element, by the number of its type in ONNX; None where elements have no fixed size.
BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 8: None, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128,
        16: 16, 17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2}  # fmt: skip
COMPLEX = {TensorProto.COMPLEX64, TensorProto.COMPLEX128}
FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
EQUATION = rb"[A-Za-z., ]*(->[A-Za-z. ]*)?"

Function = tuple[str, str, str]  # domain, name, overload


def read_file(path: Path) -> bytes:
    """Read a file up to the size cap.

    Raises:
        ArtifactError: If it cannot be read, is empty, or is larger than the cap.
    """
    content = _read(path, MAX_FILE_BYTES)
    if not content:
        raise ArtifactError(f"{path} is empty.")
    return content


def read_card(path: Path) -> dict[str, Any]:
    """Read a card, JSON; one that is absent, or is no mapping, is empty.

    Raises:
        ArtifactError: If it is there and cannot be read, is no JSON, too long, or nested too deep.
    """
    if not path.exists():
        return {}
    try:
        card = json.loads(_read(path, MAX_CARD_BYTES))
    except (ValueError, RecursionError) as error:
        if isinstance(error, ArtifactError):
            raise ArtifactError(f"{error} The model works without it.") from error
        raise ArtifactError(f"{path} is not JSON: {error}. Delete it, the model works without.") from error
    if _is_deeper(card, MAX_CARD_DEPTH):
        raise ArtifactError(
            f"{path} is nested deeper than {MAX_CARD_DEPTH} levels, as no card is. Delete it, the model works without."
        )
    return card if isinstance(card, dict) else {}


def checked_model(content: bytes, *, name: str = "The model") -> onnx.ModelProto:
    """Parse a model and refuse what could read other files, run foreign code or take the memory.

    Args:
        content: The file.
        name: What to call it in messages.

    Raises:
        ArtifactError: With everything that was found, not only the first.
    """
    if len(content) > MAX_FILE_BYTES:
        raise ArtifactError(f"{name} has {len(content)} bytes; at most {MAX_FILE_BYTES} are read.")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except (DecodeError, RecursionError) as error:
        raise ArtifactError(f"{name} is not an ONNX file: it does not parse.") from error
    if not model.graph.node or not model.graph.output:
        raise ArtifactError(f"{name} is not an ONNX file with a graph: it has no nodes or no outputs.")
    problems = sorted(set(_problems(model)))
    if not problems:  # sizes can be told only of a graph that is in order
        problems = sorted(set(size_problems(model, limits_of(len(content)))))
    if problems:
        shown = "; ".join(problems[:10]) + (f"; and {len(problems) - 10} more" if len(problems) > 10 else "")
        raise ArtifactError(f"{name} is refused: {shown}.")
    return model


def _read(path: Path, most: int) -> bytes:
    try:
        if not path.is_file() and path.exists():
            raise ArtifactError(f"{path} cannot be read: it is not a file.")
        size = path.stat().st_size
        if size > most:
            raise ArtifactError(f"{path} has {size} bytes; at most {most} are read.")
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}.") from error


def _is_deeper(value: object, depth: int) -> bool:
    level = [value]
    for _ in range(depth):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return any(isinstance(inner, dict | list) for inner in level)


def _problems(model: onnx.ModelProto) -> Iterator[str]:
    if model.training_info:
        yield "it holds graphs for training"
    if sum(len(entry.key) + len(entry.value) for entry in model.metadata_props) > MAX_METADATA:
        yield f"its metadata is longer than {MAX_METADATA} characters"
    if not all(isinstance(text, str) for text in _texts(model)):
        yield "a text in it is not Unicode"
        return
    for entry in [*model.graph.input, *model.graph.output]:
        if entry.type.WhichOneof("value") not in ("tensor_type", None, "sequence_type", "map_type"):
            yield f"{entry.name or '(unnamed)'} is neither a tensor nor what a classifier gives"
    for function in model.functions:
        if function.domain in ("", *KNOWN_PREFIXES) or function.domain.startswith(KNOWN_PREFIXES):
            yield f"local function {function.name} hides a standard operator"
    nodes: list[onnx.NodeProto] = []
    for graph in [model.graph, *model.functions]:
        yield from _walk(graph, nodes, 0)
    local = {_key(function) for function in model.functions}
    if len(local) < len(model.functions):
        yield "two local functions have one name"
    yield from _expanded(model, len(nodes))
    for node in nodes:
        yield from _node_problems(node, local)


def _texts(model: onnx.ModelProto) -> Iterator[str | bytes]:
    """Yield the texts that are read as such; protobuf gives those that are no Unicode as bytes."""
    for entry in model.metadata_props:
        yield from (entry.key, entry.value)
    for value in [*model.graph.input, *model.graph.output]:
        yield from (value.name, *(dimension.dim_param for dimension in value.type.tensor_type.shape.dim))
    for function in model.functions:
        yield from (function.name, function.domain, function.overload, *function.input, *function.output)
    for graph in [model.graph, *model.functions]:
        for node in graph.node:
            yield from (node.name, node.op_type, node.domain, node.overload, *node.input, *node.output)
            yield from (attribute.name for attribute in node.attribute)


def _key(function: onnx.FunctionProto) -> Function:
    return (function.domain, function.name, function.overload)


def _called(node: onnx.NodeProto) -> Function:
    return (node.domain, node.op_type, node.overload)


def _node_problems(node: onnx.NodeProto, local: set[Function]) -> Iterator[str]:
    names = [node.name, node.op_type, node.domain, *node.input, *node.output]
    if max(map(len, names)) > MAX_NAME:
        yield f"operator {node.op_type:.40} has a name of more than {MAX_NAME} characters"
    if _called(node) in local:
        return
    reason = refusal(node.domain, node.op_type)
    if reason is not None:
        yield reason
    elif any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
        yield f"operator {node.op_type} holds a graph, which none of its kind does"
    for attribute in node.attribute:  # what onnx's shape inference does not survive
        if attribute.name == "num_outputs" and attribute.i != len(node.output):
            yield f"operator {node.op_type} says that it has {attribute.i} outputs and has {len(node.output)}"
        if attribute.name == "equation" and not re.fullmatch(EQUATION, attribute.s):
            yield f"operator {node.op_type} has an equation that is none: {attribute.s!r:.80}"


def _expanded(model: onnx.ModelProto, count: int) -> Iterator[str]:
    """Refuse calls in a circle or too deep, and too many nodes, with functions written out."""
    bodies = {_key(function): [_called(node) for node in function.node] for function in model.functions}
    level = set(bodies)
    for _ in range(MAX_DEPTH):
        level = {callee for caller in level for callee in bodies[caller] if callee in bodies}
        if not level:
            break
    else:
        yield f"local functions that call each other deeper than {MAX_DEPTH}, or in a circle"
        return
    lengths: dict[Function, int] = {}

    def length(key: Function) -> int:
        if key not in bodies:
            return 1
        if key not in lengths:
            lengths[key] = sum(map(length, bodies[key]))
        return lengths[key]

    count = max(count, sum(length(_called(node)) for node in model.graph.node))
    if count > MAX_NODES:
        yield f"{count} nodes, at most {MAX_NODES} are read"


def _walk(graph: onnx.GraphProto | onnx.FunctionProto, nodes: list[onnx.NodeProto], depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        yield f"sub-graphs deeper than {MAX_DEPTH}"
        return
    if isinstance(graph, onnx.GraphProto):
        for tensor in graph.initializer:
            yield from _tensor_problems(tensor)
        for sparse in graph.sparse_initializer:
            yield from _sparse_problems(sparse)
    else:
        yield from _attribute_problems(graph.attribute_proto, nodes, depth)
    for node in graph.node:
        nodes.append(node)
        yield from _attribute_problems(node.attribute, nodes, depth)


def _attribute_problems(attributes: Iterable[AttributeProto], nodes: list[onnx.NodeProto], depth: int) -> Iterator[str]:
    for attribute in attributes:
        if max(map(len, [attribute.s, *attribute.strings])) > MAX_TEXT:
            yield f"attribute {attribute.name} has a text of more than {MAX_TEXT} bytes"
        for tensor in [*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors]:
            yield from _tensor_problems(tensor)
        sparses = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
        for sparse in [*sparses, *attribute.sparse_tensors]:
            yield from _sparse_problems(sparse)
        for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            yield from _walk(inner, nodes, depth + 1)


def _tensor_problems(tensor: TensorProto) -> Iterator[str]:
    title = f"tensor {tensor.name or '(unnamed)'}"
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        yield f"{title} lies in another file"
    elif not _is_shape(tensor.dims):
        yield f"{title} has shape {list(tensor.dims)}"
    elif tensor.data_type not in BITS:
        yield f"{title} has elements of type {tensor.data_type}, which is none"
    else:
        found, needed = _lengths(tensor)
        if tensor.HasField("raw_data") and any(len(getattr(tensor, name)) for name in FIELDS):
            yield f"{title} holds its values twice"
        elif found != needed:
            yield f"{title} holds {found} values or bytes, its shape {list(tensor.dims)} needs {needed}"
    if max(map(len, tensor.string_data), default=0) > MAX_TEXT:
        yield f"{title} has a text of more than {MAX_TEXT} bytes"


def _lengths(tensor: TensorProto) -> tuple[int, int]:
    """Return how many bytes (raw) or values a tensor holds, and how many its shape and type need."""
    count, bits = math.prod(tensor.dims), BITS[tensor.data_type]
    if tensor.HasField("raw_data") and bits is not None:
        return len(tensor.raw_data), (count * bits + 7) // 8
    needed = count if bits is None or bits >= 8 else (count * bits + 7) // 8
    found = sum(len(getattr(tensor, name)) for name in FIELDS)
    return found, needed * (2 if tensor.data_type in COMPLEX else 1)


def _sparse_problems(sparse: onnx.SparseTensorProto) -> Iterator[str]:
    yield from _tensor_problems(sparse.values)
    yield from _tensor_problems(sparse.indices)
    if not _is_shape(sparse.dims):
        yield f"sparse tensor {sparse.values.name or '(unnamed)'} has shape {list(sparse.dims)}"


def _is_shape(sizes: Iterable[int]) -> bool:
    dims = list(sizes)
    return min(dims, default=0) >= 0 and len(dims) <= MAX_RANK and math.prod(dims) <= MAX_ELEMENTS
