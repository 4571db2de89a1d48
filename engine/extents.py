"""How large the values in a model get, and how much work it is, told from the file before anything runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import onnx
import onnx.checker
import onnx.inliner
import onnx.shape_inference
from onnx import TensorProto, helper, numpy_helper

from engine.folding import MAX_FOLDED, Shape, folded
from engine.operators import SIZED
from engine.table_shapes import table_shapes

__all__ = ["FREE_SIZE", "MAX_MADE", "MAX_TOTAL", "MAX_WORK", "Limits", "limits_of", "size_problems"]

MAX_INPUT = 2**24  # elements of an input for one row
TEXT_ELEMENTS = 16  # that one text counts as
MAX_MADE = 2**26  # elements of one value for one row: 256 MiB of float32
MAX_TOTAL = 2**28  # of all values together
MAX_WORK = 2**36  # multiplications and the like, for one row: seconds on one core
DECODED = 8  # elements that a byte of a file may be decoded to
FREE_SIZE = 64  # stands for a free dimension that is not the batch
MAX_ROUNDS = 200  # each follows one computed shape after the other

MATRICES = {"MatMul", "Gemm", "MatMulInteger", "QLinearMatMul"}
KERNELS = {"Conv": 1, "ConvInteger": 1, "ConvTranspose": 1, "QLinearConv": 3}  # place of the weights
RECURRENT = {"RNN", "GRU", "LSTM"}
_NOTHING = np.empty(0)
PRODUCTS = {"Einsum", "Attention"}  # bounded by the product of their first two inputs


@final
@dataclass(frozen=True)
class Limits:
    """What a file may make, for one row.

    Args:
        made: Elements of one value.
        total: Elements of all values together.
        work: Multiplications and the like.
    """

    made: int
    total: int
    work: int


def limits_of(length: int) -> Limits:
    """Return the limits of a file: fixed ones, and more for a long file, whose weights are decoded.

    Args:
        length: Of the file, in bytes.

    Example:
        >>> limits_of(160).made == 2**26 + 8 * 160
        True
    """
    return Limits(MAX_MADE + DECODED * length, MAX_TOTAL + 8 * DECODED * length, MAX_WORK + 8 * DECODED * length)


def size_problems(model: onnx.ModelProto, limits: Limits) -> Iterator[str]:
    """Name the values that are too large, or whose size does not follow from the file.

    Local functions are written out, the batch is one row, and what the file says of inner shapes is not believed.

    Args:
        model: With operators from the list only, and no local functions that call themselves.
        limits: For one row.
    """
    try:
        flat = _flattened(model)
        known, shapes = _followed(flat)
    except Exception as error:  # the exception types of onnx share no public root
        yield f"it is not a valid model: {' '.join(str(error).split()) or type(error).__name__:.300}"
        return
    constants = {tensor.name for tensor in model.graph.initializer}
    yield from _input_problems([entry for entry in model.graph.input if entry.name not in constants], shapes)
    yield from _bounds(flat, known, shapes, limits)


def _flattened(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph alone, without functions and inner shapes; large constants are inputs of their shape."""
    made = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    made.graph.name = "g"
    made.graph.node.extend(model.graph.node)
    constants = {tensor.name for tensor in model.graph.initializer}
    for entry in model.graph.input:
        if entry.name not in constants:
            made.graph.input.append(_fixed(entry))
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= MAX_FOLDED:
            made.graph.initializer.append(tensor)
        else:
            made.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    for sparse in model.graph.sparse_initializer:
        kind = sparse.values.data_type
        made.graph.input.append(helper.make_tensor_value_info(sparse.values.name, kind, sparse.dims))
    for entry in model.graph.output:
        made.graph.output.append(helper.make_tensor_value_info(entry.name, TensorProto.FLOAT, []))
    onnx.checker.check_model(made)  # shape inference trusts that nodes and names are in order
    for entry in made.graph.output:
        entry.ClearField("type")
    return onnx.inliner.inline_local_functions(made) if made.functions else made


def _fixed(entry: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    """Return an input with one row and no free dimension."""
    made = onnx.ValueInfoProto()
    made.CopyFrom(entry)
    for place, dimension in enumerate(made.type.tensor_type.shape.dim):
        if not dimension.HasField("dim_value") or dimension.dim_value < 0:
            dimension.dim_value = FREE_SIZE if place else 1
    return made


def _followed(flat: onnx.ModelProto) -> tuple[dict[str, np.ndarray], dict[str, Shape]]:
    """Return small values and complete shapes by name; nodes with a known value become constants of `flat`.

    A value gives shapes, and these give values: repeated until nothing new comes.
    """
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in flat.graph.initializer}
    shapes: dict[str, Shape] = {}
    for _ in range(MAX_ROUNDS):
        shapes, kinds = _inferred(flat)
        rest, found = [], False
        for node in flat.graph.node:
            value = folded(node, known, shapes)
            if value is None:
                rest.append(node)
                new = {name: shape for name, shape in table_shapes(node, shapes).items() if name not in shapes}
                flat.graph.value_info.extend(
                    helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), shape)
                    for name, shape in new.items()
                )
                found |= bool(new)
                continue
            known[node.output[0]] = value
            flat.graph.initializer.append(numpy_helper.from_array(np.array(value, order="C"), node.output[0]))
            found = True
        if not found:
            break
        kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in rest]
        del flat.graph.node[:]
        flat.graph.node.extend(kept)
    return known, shapes


def _inferred(flat: onnx.ModelProto) -> tuple[dict[str, Shape], dict[str, int]]:
    """Return complete shapes, and types of elements, by name."""
    # Not with data_prop: it writes out every element of a vector, whatever its length.
    graph = onnx.shape_inference.infer_shapes(flat).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    kinds = {}
    for value in [*graph.input, *graph.value_info, *graph.output]:
        kind = value.type.tensor_type
        kinds[value.name] = kind.elem_type
        sizes = [dimension.dim_value if dimension.HasField("dim_value") else -1 for dimension in kind.shape.dim]
        if kind.HasField("shape") and min(sizes, default=0) >= 0:
            shapes[value.name] = tuple(sizes)
    return shapes, kinds


def _input_problems(inputs: Sequence[onnx.ValueInfoProto], shapes: Mapping[str, Shape]) -> Iterator[str]:
    for entry in inputs:
        is_text = entry.type.tensor_type.elem_type == TensorProto.STRING
        most = MAX_INPUT // (TEXT_ELEMENTS if is_text else 1)
        if entry.name not in shapes:
            yield f"input {entry.name} must be a tensor with a shape"
        elif not 0 < math.prod(shapes[entry.name]) <= most:
            yield f"input {entry.name} has shape {list(shapes[entry.name])} for a row, 1 to {most} elements are read"


def _bounds(
    flat: onnx.ModelProto, known: Mapping[str, np.ndarray], shapes: Mapping[str, Shape], limits: Limits
) -> Iterator[str]:
    counts = {tensor.name: math.prod(tensor.dims) for tensor in flat.graph.initializer} | {"": 1}
    for entry in flat.graph.input:
        counts[entry.name] = math.prod(shapes.get(entry.name, ()))
        if counts[entry.name] > limits.made:
            yield _told(f"input {entry.name}", shapes[entry.name])
    total = work = 0
    for node in flat.graph.node:
        absent = [name for name in node.input if name not in counts]
        if absent:
            yield f"operator {node.op_type} takes {absent[0]}, which no node before it makes"
            return
        inputs = [counts[name] for name in node.input]
        outputs = [name for name in node.output if name]
        for name in outputs:
            counts[name] = math.prod(shapes[name]) if name in shapes else _bound(node, inputs, known)
        if node.op_type in RECURRENT and 0 in inputs:  # ONNX Runtime ends the process
            yield f"operator {node.op_type} gets a sequence without values"
        large = [name for name in outputs if counts[name] > limits.made]
        if large:
            yield from (_told(f"value {n}", shapes[n]) if n in shapes else _untold(node, n) for n in large)
            return  # what follows would only repeat it
        made = sum(counts[name] for name in outputs)
        total += made
        work += _work(node, inputs, made, shapes)
    if total > limits.total:
        yield f"its values would have {total} elements together, at most {limits.total} are read"
    if work > limits.work:
        yield f"one row would take {work} multiplications, at most {limits.work} are read"


def _told(title: str, shape: Shape) -> str:
    return f"{title} would have {math.prod(shape)} elements, shape {list(shape)}"


def _untold(node: onnx.NodeProto, name: str) -> str:
    if node.op_type in SIZED:
        return (
            f"operator {node.op_type} can take any amount of memory: how large {name} gets does not follow from the "
            "file; export the model with fixed sizes"
        )
    return (
        f"how large value {name} of operator {node.op_type} gets does not follow from the file; "
        "export the model with fixed sizes"
    )


def _bound(node: onnx.NodeProto, inputs: Sequence[int], known: Mapping[str, np.ndarray]) -> int:
    """Return the most elements that an output without a known shape can have."""
    if node.op_type == "OneHot" and len(node.input) > 1 and known.get(node.input[1], _NOTHING).size:
        return inputs[0] * max(0, int(known[node.input[1]].reshape(-1)[0]))
    if node.op_type in SIZED:
        return 2**62
    if node.op_type == "Concat":
        return sum(inputs)
    return min(2**62, math.prod(max(1, count) for count in inputs) * _attribute_values(node))


def _attribute_values(node: onnx.NodeProto) -> int:
    """Return the largest number of values in an attribute: weights of models for tables, or numbers given."""
    longest: list[int] = [1]
    for attribute in node.attribute:
        longest += [len(attribute.ints), len(attribute.floats), len(attribute.strings), math.prod(attribute.t.dims)]
    return max(1, *longest)


def _work(node: onnx.NodeProto, inputs: Sequence[int], made: int, shapes: Mapping[str, Shape]) -> int:
    """Return about how many multiplications a node takes; never less than it has elements."""
    whole = sum(inputs) + made
    if node.domain == "ai.onnx.ml" or node.op_type == "TfIdfVectorizer":
        return whole * _attribute_values(node)
    if node.op_type in MATRICES:
        return whole + made * max(_shape(node, 0, shapes, inputs))
    if node.op_type in KERNELS:
        source = inputs[0] if node.op_type == "ConvTranspose" else made
        return whole + source * math.prod(_shape(node, KERNELS[node.op_type], shapes, inputs)[1:])
    if node.op_type in RECURRENT:
        return whole + math.prod(_shape(node, 0, shapes, inputs)[:2]) * sum(inputs[1:3])
    if node.op_type in PRODUCTS:
        return whole + min(2**62, math.prod(max(1, count) for count in inputs[:2]))
    sizes = [size for attribute in node.attribute if attribute.name == "kernel_shape" for size in attribute.ints]
    sizes += [attribute.i for attribute in node.attribute if node.op_type == "LRN" and attribute.name == "size"]
    return whole * max(1, int(math.prod(sizes)))


def _shape(node: onnx.NodeProto, place: int, shapes: Mapping[str, Shape], inputs: Sequence[int]) -> Shape:
    """Return the shape of an input with at least one dimension; where it is unknown, all its elements in one."""
    if place >= len(node.input):
        return (1,)
    return shapes.get(node.input[place], (1, inputs[place])) or (1,)
