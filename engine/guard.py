"""Reading model files that nobody trusts: size caps, an operator allow-list, no external data."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import onnx
import onnx.shape_inference
from google.protobuf.message import DecodeError

from engine.errors import ArtifactError

__all__ = ["MAX_ELEMENTS", "MAX_FILE_BYTES", "checked_model", "read_file"]

MAX_FILE_BYTES = 256 * 2**20
MAX_ELEMENTS = 2**28  # of one tensor, decoded: 1 GiB of float32
MAX_NODES = 100_000
MAX_DEPTH = 8  # of sub-graphs and of local functions that call each other

DOMAINS = {"", "ai.onnx", "ai.onnx.ml"}
# Operators that allocate by the *values* of their inputs or run code of unbounded length: a 160-byte file could take
# gigabytes. None of them has a place in a model of a few kilobytes.
REFUSED = {"ConstantOfShape", "Range", "Expand", "Tile", "Loop", "Scan", "If", "Upsample", "Resize", "RandomNormal",
           "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli", "EyeLike", "OneHot",
           "SequenceMap", "StringSplit", "RegexFullMatch", "ImageDecoder", "NonMaxSuppression", "MaxUnpool",
           "CenterCropPad", "Pad", "HannWindow", "HammingWindow", "BlackmanWindow", "MelWeightMatrix",
           "AffineGrid"}  # fmt: skip


def read_file(path: Path) -> bytes:
    """Read a file up to the size cap.

    Raises:
        ArtifactError: If it cannot be read, is empty, or is larger than the cap.
    """
    try:
        if not path.is_file() and path.exists():
            raise ArtifactError(f"{path} cannot be read: it is not a file.")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ArtifactError(f"{path} has {size} bytes; at most {MAX_FILE_BYTES} are read.")
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}.") from error
    if not content:
        raise ArtifactError(f"{path} is empty.")
    return content


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
    problems = sorted(set(_problems(model))) or sorted(set(_large_values(model)))
    if problems:
        shown = "; ".join(problems[:10]) + (f"; and {len(problems) - 10} more" if len(problems) > 10 else "")
        raise ArtifactError(f"{name} is refused: {shown}.")
    return model


def _problems(model: onnx.ModelProto) -> Iterable[str]:
    if model.training_info:
        yield "it holds graphs for training"
    local = {(function.domain, function.name) for function in model.functions}
    for function in model.functions:
        if function.domain in DOMAINS:
            yield f"local function {function.name} hides a standard operator"
    yield from _function_depth(model)
    nodes: list[onnx.NodeProto] = []
    for graph in [model.graph, *model.functions]:
        yield from _walk(graph, nodes, 0)
    if len(nodes) > MAX_NODES:
        yield f"{len(nodes)} nodes, at most {MAX_NODES} are read"
    for node in nodes:
        if (node.domain, node.op_type) in local:
            continue
        if node.domain not in DOMAINS:
            yield f"operator {node.domain}.{node.op_type} is not a standard one"
        elif node.op_type in REFUSED:
            yield f"operator {node.op_type} can take any amount of memory or time"


def _large_values(model: onnx.ModelProto) -> Iterable[str]:
    """Name values between nodes that would be too large, as far as their shapes follow from the graph."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
    except Exception:  # a graph that contradicts itself; ONNX Runtime will say how
        return
    for value in inferred.graph.value_info:
        shape = [dimension.dim_value or 1 for dimension in value.type.tensor_type.shape.dim]
        if math.prod(shape) > MAX_ELEMENTS:
            yield f"value {value.name} would have {math.prod(shape)} elements, shape {shape}"


def _walk(graph: onnx.GraphProto | onnx.FunctionProto, nodes: list[onnx.NodeProto], depth: int) -> Iterable[str]:
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


def _attribute_problems(
    attributes: Iterable[onnx.AttributeProto], nodes: list[onnx.NodeProto], depth: int
) -> Iterable[str]:
    for attribute in attributes:
        for tensor in [attribute.t, *attribute.tensors]:
            yield from _tensor_problems(tensor)
        for sparse in [attribute.sparse_tensor, *attribute.sparse_tensors]:
            yield from _sparse_problems(sparse)
        for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            yield from _walk(inner, nodes, depth + 1)


def _tensor_problems(tensor: onnx.TensorProto) -> Iterable[str]:
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        yield f"tensor {tensor.name or '(unnamed)'} lies in another file"
    if any(size < 0 for size in tensor.dims) or math.prod(tensor.dims) > MAX_ELEMENTS:
        yield f"tensor {tensor.name or '(unnamed)'} has shape {list(tensor.dims)}"


def _sparse_problems(sparse: onnx.SparseTensorProto) -> Iterable[str]:
    yield from _tensor_problems(sparse.values)
    yield from _tensor_problems(sparse.indices)
    if any(size < 0 for size in sparse.dims) or math.prod(sparse.dims) > MAX_ELEMENTS:
        yield f"sparse tensor {sparse.values.name or '(unnamed)'} has shape {list(sparse.dims)}"


def _function_depth(model: onnx.ModelProto) -> Iterable[str]:
    calls = {(f.domain, f.name): {(n.domain, n.op_type) for n in f.node} for f in model.functions}
    level = set(calls)
    for _ in range(MAX_DEPTH):
        level = {callee for caller in level for callee in calls[caller] if callee in calls}
        if not level:
            return
    yield f"local functions that call each other deeper than {MAX_DEPTH}, or in a circle"
