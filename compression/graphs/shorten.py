"""The same graph in fewer bytes: short names, equal tensors once, defaults left out, nothing unused."""

from __future__ import annotations

import itertools
import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper

from compression.graphs.opset import all_nodes, inner_graphs, lowered, opset_of

__all__ = ["drop_defaults", "live_nodes", "packed_tensor", "shortened"]

METADATA = ("classes", "task", "numeric", "categorical")  # what a file may say of itself; docs/files.md
VARINTS = {np.dtype(np.int64): "int64_data", np.dtype(np.int32): "int32_data"}
PLAIN = {"float32", "float64", "float16", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"}
WINDOWS = {"Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool", "ConvInteger", "QLinearConv"}
PASSIVE = {"dilations": 1, "strides": 1, "pads": 0, "output_padding": 0}


def shortened(model: ModelProto) -> tuple[ModelProto, dict[str, str]]:
    """Write a model with nothing that need not be there.

    Inputs and outputs keep their names; every other value gets one or two letters, the most used first. Doc strings,
    producer, inner shapes, names of nodes, symbolic dimensions, metadata other than class and column names, default
    attributes, unused nodes and tensors go; equal tensors are written once, whole numbers as varints where that is
    shorter. Opset and IR version are the lowest in which each node has the definition that it has now.

    Args:
        model: Left as it is.

    Returns:
        The model, and the new name of each value that is left, by its old name.

    Example:
        >>> from onnx import parser
        >>> wordy = parser.parse_model('''<ir_version: 8, opset_import: ["" : 17]>
        ... net (float[N, 4] features) => (float[N, 4] y) { hidden = Relu(features) y = Neg(hidden) }''')
        >>> small, names = shortened(wordy)
        >>> names["hidden"], len(small.SerializeToString()) < len(wordy.SerializeToString())
        ('a', True)
    """
    version = opset_of(model)
    graph = GraphProto(name="g")
    graph.input.extend(_plain_value(value) for value in _true_inputs(model.graph))
    graph.output.extend(_plain_value(value) for value in model.graph.output)
    graph.node.extend(live_nodes(model.graph))
    graph.sparse_initializer.extend(model.graph.sparse_initializer)
    shared = _share(graph, model.graph.initializer)
    drop_defaults(graph, version)
    names = _short_names(graph)
    _rename(graph, names)
    for old, new in shared.items():
        names[old] = names[new]
    return _wrapped(model, graph), names


def drop_defaults(graph: GraphProto, version: int) -> None:
    """Clear what says no more than its absence does; kernel shapes of weights that are known too."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        _clean(node, version, tensors)


def packed_tensor(name: str, array: np.ndarray) -> TensorProto:
    """Return a tensor as varints or raw bytes, whichever is shorter."""
    kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    raw = TensorProto(name=name, dims=array.shape, data_type=kind, raw_data=np.ascontiguousarray(array).tobytes())
    field = VARINTS.get(array.dtype)
    if field is None:
        return raw
    varints = TensorProto(name=name, dims=array.shape, data_type=kind, **{field: [int(v) for v in array.reshape(-1)]})
    return min(raw, varints, key=lambda tensor: (tensor.ByteSize(), tensor is raw))


def live_nodes(graph: GraphProto) -> list[NodeProto]:
    """Return copies of the nodes from which an output follows, in their order."""
    needed = {value.name for value in graph.output}
    live = []
    for node in reversed(graph.node):
        if needed.intersection(filter(None, node.output)):
            copy = NodeProto()
            copy.CopyFrom(node)
            while copy.output and (copy.output[-1] == "" or _is_unused_mask(copy, needed)):
                del copy.output[-1]
            live.append(copy)
            needed |= _read_names(copy)
    return live[::-1]


def _true_inputs(graph: GraphProto) -> list[ValueInfoProto]:
    """Inputs that are not initializers; files of old list both."""
    given = {tensor.name for tensor in graph.initializer} | {tensor.values.name for tensor in graph.sparse_initializer}
    return [value for value in graph.input if value.name not in given]


def _plain_value(value: ValueInfoProto) -> ValueInfoProto:
    plain = ValueInfoProto(name=value.name)
    plain.type.CopyFrom(value.type)
    if plain.type.HasField("tensor_type"):
        plain.type.ClearField("denotation")
        for dimension in plain.type.tensor_type.shape.dim:
            dimension.ClearField("denotation")
            if dimension.WhichOneof("value") == "dim_param":
                dimension.ClearField("dim_param")
    return plain


def _is_unused_mask(node: NodeProto, needed: set[str]) -> bool:
    """Whether the last output is an optional one that nobody reads."""
    return node.op_type in ("MaxPool", "Dropout") and len(node.output) == 2 and node.output[1] not in needed


def _read_names(node: NodeProto) -> set[str]:
    inner = (name for graph in inner_graphs(node) for each in all_nodes(graph.node) for name in each.input)
    ends = (value.name for graph in inner_graphs(node) for value in graph.output)
    return {name for name in [*node.input, *inner, *ends] if name}


def _share(graph: GraphProto, tensors: Sequence[TensorProto]) -> dict[str, str]:
    """Give the graph the tensors that it reads, equal ones once; return those that went, with what stands for them."""
    read = {name for node in graph.node for name in _read_names(node)}
    ends = {value.name for value in graph.output}
    first: dict[bytes, str] = {}
    replaced: dict[str, str] = {}
    for tensor in tensors:
        if tensor.name not in read | ends:
            continue
        small = _small_tensor(tensor)
        name = tensor.name
        small.ClearField("name")
        key = small.SerializeToString(deterministic=True)
        small.name = name
        if key in first and name not in ends:
            replaced[name] = first[key]
        else:
            first.setdefault(key, name)
            graph.initializer.append(small)
    _rename_nodes(graph.node, replaced)
    return replaced


def _small_tensor(tensor: TensorProto) -> TensorProto:
    if tensor.data_type in (TensorProto.UNDEFINED, TensorProto.STRING) or tensor.external_data:
        copy = TensorProto()
        copy.CopyFrom(tensor)
        copy.ClearField("doc_string")
        del copy.metadata_props[:]
        return copy
    array = numpy_helper.to_array(tensor)
    if array.dtype.name in PLAIN or array.dtype == np.bool_:
        return packed_tensor(tensor.name, array)
    small = TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
    small.raw_data = tensor.raw_data or numpy_helper.from_array(array).raw_data
    return small


def _clean(node: NodeProto, version: int, tensors: Mapping[str, TensorProto]) -> None:
    for field in ("name", "doc_string", *(["domain"] if node.domain in ("", "ai.onnx") else [])):
        node.ClearField(field)
    del node.metadata_props[:]
    del node.device_configurations[:]
    while node.input and node.input[-1] == "":
        del node.input[-1]
    kept = [attribute for attribute in node.attribute if not _is_default(node, attribute, version, tensors)]
    del node.attribute[:]
    for attribute in sorted(kept, key=lambda entry: entry.name):
        attribute.ClearField("doc_string")
        if attribute.HasField("t"):
            attribute.t.CopyFrom(_small_tensor(attribute.t))
            attribute.t.ClearField("name")
        node.attribute.append(attribute)
    for inner in inner_graphs(node):
        inner.ClearField("doc_string")
        del inner.value_info[:]
        drop_defaults(inner, version)


def _is_default(node: NodeProto, attribute: AttributeProto, version: int, tensors: Mapping[str, TensorProto]) -> bool:
    if attribute.ref_attr_name or node.domain not in ("", "ai.onnx"):
        return False
    if node.op_type in WINDOWS and attribute.name in PASSIVE:
        return all(value == PASSIVE[attribute.name] for value in attribute.ints)
    if node.op_type in ("Conv", "ConvTranspose") and attribute.name == "kernel_shape":
        weight = tensors.get(node.input[1])
        return weight is not None and list(weight.dims[2:]) == list(attribute.ints)
    try:
        known = onnx.defs.get_schema(node.op_type, version, "").attributes.get(attribute.name)
    except onnx.defs.SchemaError:
        return False
    if known is None or known.required or known.default_value.type == AttributeProto.UNDEFINED:
        return False
    plain = AttributeProto()
    plain.CopyFrom(attribute)
    plain.ClearField("doc_string")
    return bool(
        plain.SerializeToString(deterministic=True) == known.default_value.SerializeToString(deterministic=True)
    )


def _short_names(graph: GraphProto) -> dict[str, str]:
    """Names by use: the most used value gets the first letter; places decide between equals, never the old names."""
    fixed = {value.name for value in [*graph.input, *graph.output]}
    uses: Counter[str] = Counter()
    for tensor in graph.initializer:
        uses[tensor.name] += 1
    for sparse in graph.sparse_initializer:
        uses[sparse.values.name] += 1
    inside: set[str] = set()
    for node in graph.node:
        uses.update(name for name in [*node.input, *node.output] if name)
        for inner in inner_graphs(node):
            inside |= _inner_names(inner)
    letters = (name for name in _names() if name not in fixed and name not in inside)
    ranked = sorted(enumerate(uses.items()), key=lambda entry: (-entry[1][1], entry[0]))
    return {name: name if name in fixed or name in inside else next(letters) for _, (name, _) in ranked} | {
        name: name for name in fixed
    }


def _inner_names(graph: GraphProto) -> set[str]:
    """Names in the graphs inside a node stay, and with them the names of the values that they read from outside."""
    own = {value.name for value in [*graph.input, *graph.output]} | {tensor.name for tensor in graph.initializer}
    return own | {name for node in all_nodes(graph.node) for name in [*node.input, *node.output] if name}


def _names() -> Iterator[str]:
    for length in itertools.count(1):
        yield from map("".join, itertools.product(string.ascii_letters, repeat=length))


def _rename(graph: GraphProto, names: Mapping[str, str]) -> None:
    _rename_nodes(graph.node, names)
    for tensor in graph.initializer:
        tensor.name = names[tensor.name]
    for sparse in graph.sparse_initializer:
        sparse.values.name = names[sparse.values.name]


def _rename_nodes(nodes: Sequence[NodeProto], names: Mapping[str, str]) -> None:
    for node in nodes:
        for place in (node.input, node.output):
            for number, name in enumerate(place):
                place[number] = names.get(name, name)
        for inner in inner_graphs(node):
            _rename_nodes(inner.node, names)
            for value in inner.output:
                value.name = names.get(value.name, value.name)


def _wrapped(model: ModelProto, graph: GraphProto) -> ModelProto:
    """Put the graph in a model with the functions and domains that it needs, and the lowest versions."""
    made = ModelProto(graph=graph)
    _add_functions(made, model)
    used = {node.domain for node in all_nodes(graph.node)} | {n.domain for f in made.functions for n in f.node}
    probe = ModelProto(graph=graph, opset_import=model.opset_import, functions=made.functions)
    version = lowered(probe)
    made.opset_import.add(version=version)
    for entry in sorted(model.opset_import, key=lambda entry: str(entry.domain)):
        if entry.domain in used - {"", "ai.onnx"}:
            made.opset_import.add(domain=entry.domain, version=entry.version)
    made.ir_version = max(onnx.helper.find_min_ir_version_for(list(made.opset_import), ignore_unknown=True), 4)
    if made.functions:
        made.ir_version = max(made.ir_version, 8)
    for entry in sorted(model.metadata_props, key=lambda entry: str(entry.key)):
        if entry.key in METADATA:
            made.metadata_props.add(key=entry.key, value=entry.value)
    return made


def _add_functions(made: ModelProto, model: ModelProto) -> None:
    known = {(function.domain, function.name): function for function in model.functions}
    wanted = [(node.domain, node.op_type) for node in all_nodes(made.graph.node)]
    taken: list[tuple[str, str]] = []
    while wanted:
        key = wanted.pop()
        if key in known and key not in taken:
            taken.append(key)
            wanted += [(node.domain, node.op_type) for node in known[key].node]
    for key in known:
        if key in taken:
            function = made.functions.add()
            function.CopyFrom(known[key])
            function.ClearField("doc_string")
            del function.value_info[:]
            for node in function.node:
                node.ClearField("name")
                node.ClearField("doc_string")
                del node.metadata_props[:]
