"""Making an ONNX graph plain: local functions in place, constants computed, what does nothing removed."""

from __future__ import annotations

import onnx
import onnx.inliner
import onnx.version_converter
from onnx import numpy_helper

from compression.graphs.operation import Operation, operation_of, used
from engine.artifact import session
from engine.errors import ArtifactError

__all__ = ["LOWEST_OPSET", "plain_graph"]

LOWEST_OPSET = 13  # from here on axes, pads and sizes are inputs
NOTHING = ("Identity", "Dropout")  # at inference


def plain_graph(model: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[Operation, ...]]:
    """Return the model with plain constants, and its operations without those that compute constants.

    Args:
        model: Any model without sub-graphs. Decoding of packed weights becomes the weights.

    Returns:
        The model, whose initializers hold every constant, in opset 13 or later; and its operations.

    Raises:
        ArtifactError: If it cannot be brought to that form; it says why.
    """
    model = _inlined(model)
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)
    if opset < LOWEST_OPSET:
        model = _converted(model, opset)
    constants = {tensor.name for tensor in model.graph.initializer}
    folding, rest = [], []
    for node in model.graph.node:
        if all(name in constants for name in node.input if name):
            folding.append(node)
            constants |= set(node.output)
        else:
            rest.append(operation_of(node))
    operations = _connected(rest, [entry.name for entry in model.graph.output])
    wanted = {name for operation in operations for name in operation.inputs} & {
        name for node in folding for name in node.output
    }
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    if wanted:
        plain.graph.initializer.extend(_computed(model, folding, sorted(wanted)))
    return plain, operations


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    if not model.functions:
        return model
    try:
        return onnx.inliner.inline_local_functions(model)
    except Exception as error:  # a C++ exception without a type of its own
        raise ArtifactError(f"The local functions of the model cannot be put in place: {error}") from error


def _converted(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    try:
        return onnx.version_converter.convert_version(model, LOWEST_OPSET)
    except Exception as error:  # likewise
        raise ArtifactError(
            f"The model has opset {opset}, and cannot be brought to {LOWEST_OPSET}: {error}. Export it with opset "
            f"{LOWEST_OPSET} or later."
        ) from error


def _computed(model: onnx.ModelProto, nodes: list[onnx.NodeProto], names: list[str]) -> list[onnx.TensorProto]:
    """Run the nodes that depend on nothing but constants."""
    part = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    part.graph.name = "constants"
    part.graph.node.extend(nodes)
    needed = {name for node in nodes for name in node.input}
    part.graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in needed)
    types = onnx.shape_inference.infer_shapes(part)
    known = {value.name: value.type.tensor_type.elem_type for value in types.graph.value_info}
    part.graph.output.extend(onnx.helper.make_tensor_value_info(name, known.get(name, 1), None) for name in names)
    values = session(part.SerializeToString(), optimized=False).run(None, {})
    return [numpy_helper.from_array(value, name) for name, value in zip(names, values, strict=True)]


def _connected(operations: list[Operation], outputs: list[str]) -> tuple[Operation, ...]:
    """Leave out what does nothing, and what no output needs."""
    renamed: dict[str, str] = {}
    kept = []
    for operation in operations:
        inputs = tuple(renamed.get(name, name) for name in operation.inputs)
        if operation.operator in NOTHING and operation.outputs[0] not in outputs:
            renamed[operation.outputs[0]] = inputs[0]
            continue
        kept.append(Operation(operation.operator, inputs, operation.outputs, operation.attributes, operation.name))
    return used(kept, outputs)
