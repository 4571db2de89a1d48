"""Folding what is known before a model runs: normalisations, constants, nodes that pass their input on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from compression.graphs.opset import all_nodes, inner_graphs, opset_of

__all__ = ["attribute_of", "constants_to_initializers", "simplified"]

EPSILON = 1e-5  # of BatchNormalization, where the node names none
FOLDED_TYPES = {"float32", "float64", "float16", "int8", "uint8", "int32", "int64", "bool"}
LARGEST_SHAPE = 1024  # elements; a longer result of constants is no shape, and seldom shorter than what makes it


def attribute_of(node: NodeProto, name: str, default: Any) -> Any:
    """Return the value of an attribute, or the default where the node does not have it."""
    found = next((entry for entry in node.attribute if entry.name == name), None)
    return default if found is None else onnx.helper.get_attribute_value(found)


def simplified(model: ModelProto) -> ModelProto:
    """Return a model of fewer nodes with the same outputs; names of weights stay.

    Constant nodes become initializers; Identity and Dropout go; nodes of constants are computed where the result is
    smaller than what makes it, so that coded weights stay coded; BatchNormalization after a convolution or linear layer
    becomes part of it; weights of linear layers are turned to the side that needs no attribute.

    Args:
        model: Left as it is.
    """
    made = ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    constants_to_initializers(graph)
    _pass_through(graph, opset_of(model))
    _compute_constants(graph, opset_of(model))
    _copy_sizes(graph)
    _fold_normalizations(graph)
    _turn_products(graph)
    _drop_unused(graph)
    return made


def constants_to_initializers(graph: GraphProto) -> None:
    """Turn Constant nodes into initializers, which are shorter, in place."""
    kept = []
    for node in graph.node:
        tensor = _constant_value(node)
        if tensor is None:
            kept.append(node)
        else:
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
    _replace_nodes(graph, kept)


def _constant_value(node: NodeProto) -> TensorProto | None:
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx") or len(node.attribute) != 1:
        return None
    attribute = node.attribute[0]
    if attribute.name == "value":
        tensor = TensorProto()
        tensor.CopyFrom(attribute.t)
        return tensor
    kind = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    if attribute.name not in kind:
        return None
    return numpy_helper.from_array(np.array(onnx.helper.get_attribute_value(attribute), kind[attribute.name]))


def _replace_nodes(graph: GraphProto, nodes: list[NodeProto]) -> None:
    copies = []
    for node in nodes:
        copy = NodeProto()
        copy.CopyFrom(node)
        copies.append(copy)
    del graph.node[:]
    graph.node.extend(copies)


def _uses(graph: GraphProto) -> Counter[str]:
    """How often each value is read, as an output of the graph too."""
    counts = Counter(name for node in all_nodes(graph.node) for name in node.input if name)
    counts.update(value.name for value in graph.output)
    counts.update(value.name for node in graph.node for inner in inner_graphs(node) for value in inner.output)
    return counts


def _pass_through(graph: GraphProto, version: int) -> None:
    ends = {value.name for value in graph.output}
    given = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    uses = _uses(graph)
    forward: dict[str, str] = {}
    backward: dict[str, str] = {}
    kept = []
    for node in graph.node:
        source = node.input[0] if node.input else ""
        source = forward.get(source, source)
        if not _does_nothing(node, constants, uses, version):
            kept.append(node)
        elif node.output[0] not in ends:
            forward[node.output[0]] = source
        elif source not in given and source not in ends and source not in backward:
            backward[source] = node.output[0]
        else:
            kept.append(node)
    for node in all_nodes(kept):
        for place in (node.input, node.output):
            for number, name in enumerate(place):
                name = forward.get(name, name)
                place[number] = backward.get(name, name)
    _replace_nodes(graph, kept)


def _does_nothing(node: NodeProto, constants: Mapping[str, TensorProto], uses: Counter[str], version: int) -> bool:
    if node.domain not in ("", "ai.onnx"):
        return False
    if node.op_type == "Identity":
        return True
    if node.op_type != "Dropout" or version < 7 or any(uses[name] for name in node.output[1:] if name):
        return False
    if len(node.input) < 3 or not node.input[2]:
        return True
    mode = constants.get(node.input[2])
    return mode is not None and not numpy_helper.to_array(mode).any()


def _compute_constants(graph: GraphProto, version: int) -> None:
    known = {tensor.name: tensor for tensor in graph.initializer}
    ends = {value.name for value in graph.output}
    uses = _uses(graph)
    kept = []
    for node in graph.node:
        value = None if node.output[0] in ends else _computed(node, known, uses, version)
        if value is None:
            kept.append(node)
        else:
            known[node.output[0]] = value
            graph.initializer.append(value)
    if len(kept) < len(graph.node):
        _replace_nodes(graph, kept)


def _computed(
    node: NodeProto, known: Mapping[str, TensorProto], uses: Counter[str], version: int
) -> TensorProto | None:
    """Return the value of a node of constants, if it is shorter in the file than what it is computed from."""
    if node.domain or len(node.output) != 1 or not node.input or node.op_type.startswith("Random"):
        return None
    if any(name not in known for name in node.input) or any(entry.HasField("g") for entry in node.attribute):
        return None
    from onnx.reference import ReferenceEvaluator

    inputs = [known[name] for name in node.input]
    spared = node.ByteSize() + sum(len(t.raw_data) or t.ByteSize() for t in inputs if uses[t.name] == 1)
    if any(np.prod(t.dims, initial=1) > max(spared, LARGEST_SHAPE) for t in inputs):
        return None
    alone = onnx.helper.make_model(
        GraphProto(name="g", node=[node], initializer=inputs, output=[onnx.ValueInfoProto(name=node.output[0])]),
        opset_imports=[onnx.helper.make_opsetid("", version)],
    )
    try:
        value = np.asarray(ReferenceEvaluator(alone).run(None, {})[0])
    except Exception:  # whatever it cannot compute stays a node
        return None
    if value.dtype.name not in FOLDED_TYPES or value.nbytes > spared:
        return None
    return numpy_helper.from_array(value, node.output[0])


def _copy_sizes(graph: GraphProto) -> None:
    """Write sizes that Reshape takes over from its own input as 0, where exporters measure and join them."""
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer if len(tensor.dims) < 2}
    makers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        joined = makers.get(node.input[1]) if node.op_type == "Reshape" and not node.domain else None
        if joined is None or joined.op_type != "Concat" or attribute_of(node, "allowzero", 0):
            continue
        parts = [_size_part(name, node.input[0], known, makers) for name in joined.input]
        if not all(parts):
            continue
        sizes = [size for part in parts for size in part or []]
        if any(size < -1 and -2 - size != place for place, size in enumerate(sizes)):
            continue
        sizes = [size if size >= -1 else 0 for size in sizes]
        name = f"{node.output[0]}.shape"
        graph.initializer.append(numpy_helper.from_array(np.array(sizes, np.int64), name))
        node.input[1] = name


def _size_part(
    name: str, source: str, known: Mapping[str, np.ndarray], makers: Mapping[str, NodeProto]
) -> list[int] | None:
    """Return constant sizes; for one taken from axis n of the source, -2 - n; None for anything else."""
    if name in known:
        return [int(size) for size in known[name].reshape(-1)]
    steps = [makers.get(name)]
    while steps[-1] is not None and len(steps) < 3:
        steps.append(makers.get(steps[-1].input[0]))
    if [node.op_type if node else "" for node in steps] != ["Unsqueeze", "Gather", "Shape"]:
        return None
    gather, shape = steps[1], steps[2]
    if gather is None or shape is None or shape.input[0] != source or shape.attribute or gather.input[1] not in known:
        return None
    axis = known[gather.input[1]]
    return [-2 - int(axis)] if axis.ndim == 0 and axis >= 0 else None


def _fold_normalizations(graph: GraphProto) -> None:
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer if _is_float(tensor)}
    uses = _uses(graph)
    makers = {name: node for node in graph.node for name in node.output}
    kept: list[NodeProto] = []
    for node in graph.node:
        layer = makers.get(node.input[0]) if node.op_type == "BatchNormalization" and not node.domain else None
        if layer is None or uses[node.input[0]] != 1 or not _can_take(layer, node, known):
            kept.append(node)
            continue
        weight, bias = _with_normalization(layer, node, known)
        for place, array, suffix in ((1, weight, "weight"), (2, bias, "bias")):
            name = layer.input[place] if place < len(layer.input) and layer.input[place] else ""
            if not name or uses[name] > 1:
                name = f"{node.output[0]}.{suffix}"  # values have one maker, so no other is called that
            known[name] = array.astype(np.float32)
            if place < len(layer.input):
                layer.input[place] = name
            else:
                layer.input.append(name)
            uses[name] = 1
        layer.output[0] = node.output[0]
        makers[node.output[0]] = layer
    if len(kept) == len(graph.node):
        return
    _replace_nodes(graph, kept)
    others = [tensor for tensor in graph.initializer if tensor.name not in known]
    tensors = [*others, *(numpy_helper.from_array(array, name) for name, array in known.items())]
    del graph.initializer[:]
    graph.initializer.extend(tensors)


def _turn_products(graph: GraphProto) -> None:
    """Write x W^T as x V, V being W^T: shorter, and scales of the channels lie along the last axis."""
    uses = _uses(graph)
    tensors = {tensor.name: tensor for tensor in graph.initializer if _is_float(tensor)}
    for node in graph.node:
        if node.op_type != "Gemm" or node.domain or not attribute_of(node, "transB", 0):
            continue
        tensor = tensors.get(node.input[1])
        if tensor is not None and uses[tensor.name] == 1:
            turned = np.ascontiguousarray(numpy_helper.to_array(tensor).T)
            tensor.CopyFrom(numpy_helper.from_array(turned, tensor.name))
            kept = [attribute for attribute in node.attribute if attribute.name != "transB"]
            del node.attribute[:]
            node.attribute.extend(kept)


def _drop_unused(graph: GraphProto) -> None:
    uses = _uses(graph)
    kept = [tensor for tensor in graph.initializer if uses[tensor.name]]
    if len(kept) < len(graph.initializer):
        copies = GraphProto(initializer=kept)
        del graph.initializer[:]
        graph.initializer.extend(copies.initializer)


def _is_float(tensor: TensorProto) -> bool:
    return bool(tensor.data_type == TensorProto.FLOAT)


def _can_take(layer: NodeProto, norm: NodeProto, known: Mapping[str, np.ndarray]) -> bool:
    if layer.domain or layer.op_type not in ("Conv", "ConvTranspose", "Gemm"):
        return False
    if attribute_of(norm, "training_mode", 0) or len([name for name in norm.output if name]) > 1:
        return False
    needed = [*layer.input[1:], *norm.input[1:]]
    if any(name and name not in known for name in needed) or len(norm.input) != 5:
        return False
    if layer.op_type == "Gemm":
        channels = known[norm.input[1]].size
        plain = attribute_of(layer, "alpha", 1.0) == 1.0 and attribute_of(layer, "beta", 1.0) == 1.0
        return plain and (len(layer.input) < 3 or known[layer.input[2]].size in (1, channels))
    return True


def _with_normalization(
    layer: NodeProto, norm: NodeProto, known: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weight and bias, float64, that do what the layer and the normalisation after it do."""
    scale, shift, mean, variance = (known[name].astype(np.float64) for name in norm.input[1:])
    epsilon = attribute_of(norm, "epsilon", EPSILON)
    factor = scale / np.sqrt(variance + float(epsilon))
    weight = known[layer.input[1]].astype(np.float64)
    has_bias = len(layer.input) > 2 and layer.input[2] != ""
    bias = np.broadcast_to(known[layer.input[2]].astype(np.float64).reshape(-1), factor.shape) if has_bias else 0.0
    return _scaled(layer, weight, factor), np.asarray((bias - mean) * factor + shift)


def _scaled(layer: NodeProto, weight: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Multiply each output channel of a weight by its factor."""
    if layer.op_type == "ConvTranspose":
        groups = int(attribute_of(layer, "group", 1))
        by_group = weight.reshape(groups, -1, *weight.shape[1:])
        wide = factor.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))
        return np.asarray((by_group * wide).reshape(weight.shape))
    if layer.op_type == "Gemm" and not attribute_of(layer, "transB", 0):
        return np.asarray(weight * factor)
    return np.asarray(weight * factor.reshape(-1, *[1] * (weight.ndim - 1)))
