"""What a model file takes when it runs: decoded weights, and the largest set of values alive at once."""

from __future__ import annotations

import math

import onnx
from onnx import ModelProto, TensorProto

from compression.graphs.opset import all_nodes

__all__ = ["decoded_bytes", "peak_memory"]

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)


def decoded_bytes(model: ModelProto) -> int:
    """Return the bytes that the weights take in memory: float32 for all floats.

    Args:
        model: With plain weights, before they are coded.
    """
    return sum(4 * math.prod(t.dims) if t.data_type in FLOATS else t.ByteSize() for t in model.graph.initializer)


def peak_memory(model: ModelProto) -> int | None:
    """Return an estimate of the working set of one row, in bytes: weights, and the values alive at the worst moment.

    Args:
        model: With plain weights, before they are coded.

    Returns:
        None where the shape of a value does not follow from the graph.
    """
    alone = ModelProto()
    alone.CopyFrom(model)
    for value in alone.graph.input:
        dims = value.type.tensor_type.shape.dim
        if dims and not dims[0].dim_value:
            dims[0].dim_value = 1
    del alone.graph.value_info[:]
    try:
        inferred = onnx.shape_inference.infer_shapes(alone, data_prop=True).graph
    except Exception:  # a graph that it cannot follow
        return None
    sizes = {v.name: _size(v) for v in [*inferred.input, *inferred.value_info, *inferred.output]}
    weights = {tensor.name for tensor in model.graph.initializer}
    nodes = list(inferred.node)
    last = {name: number for number, node in enumerate(nodes) for each in all_nodes([node]) for name in each.input}
    last |= {value.name: len(nodes) for value in inferred.output}
    alive = {value.name for value in inferred.input} - weights
    peak = 0
    for number, node in enumerate(nodes):
        alive |= {name for name in node.output if name}
        if any(sizes.get(name) is None for name in alive):
            return None
        peak = max(peak, sum(sizes[name] or 0 for name in alive))
        alive = {name for name in alive if last.get(name, -1) > number}
    return decoded_bytes(model) + peak


def _size(value: onnx.ValueInfoProto) -> int | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape") or any(not dim.dim_value for dim in tensor.shape.dim):
        return None
    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    return int(math.prod(dim.dim_value for dim in tensor.shape.dim) * kind.itemsize)
