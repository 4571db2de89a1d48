"""A graph as data: operations in order, each with its operator, inputs, outputs and attributes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import onnx

from engine.errors import ArtifactError

__all__ = ["Layer", "Operation", "Port", "layers_of", "operation_of", "used"]

LINEAR = ("Gemm", "MatMul")
CONVOLUTIONS = ("Conv", "ConvTranspose")


@final
@dataclass(frozen=True)
class Operation:
    """One operation.

    Args:
        operator: As ONNX calls it.
        inputs: Names of values; empty for one that is absent.
        outputs: Names of values.
        attributes: By name, as `onnx.helper.get_attribute_value` gives them.
        name: Of the node, for messages.
    """

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    @property
    def where(self) -> str:
        """The operation as messages call it."""
        return f"{self.operator} (node '{self.name}')" if self.name else f"{self.operator} (output '{self.outputs[0]}')"

    def node(self) -> onnx.NodeProto:
        """Return the operation as a node."""
        return onnx.helper.make_node(self.operator, self.inputs, self.outputs, **self.attributes)


@final
@dataclass(frozen=True)
class Port:
    """An input or output of a graph.

    Args:
        name: As users see it.
        kind: Element type as ONNX numbers it.
        shape: Without the batch; None for what is not fixed.
    """

    name: str
    kind: int
    shape: tuple[int | None, ...]


@final
@dataclass(frozen=True)
class Layer:
    """An operation with a trained weight: a convolution or a linear layer.

    Args:
        weight: Name of the weight; layers are named by it.
        bias: Name of the bias, or None.
        operation: Which uses them.
        axis_out: Axis of the output channels in the weight.
        axis_in: Axis of the input channels.
    """

    weight: str
    bias: str | None
    operation: Operation
    axis_out: int
    axis_in: int


def operation_of(node: onnx.NodeProto) -> Operation:
    """Return a node as an operation.

    Raises:
        ArtifactError: If it holds a sub-graph.
    """
    attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    if any(isinstance(value, onnx.GraphProto) for value in attributes.values()):
        raise ArtifactError(f"{node.op_type} (node '{node.name}') holds a sub-graph; only straight graphs are read.")
    return Operation(node.op_type, tuple(node.input), tuple(node.output), attributes, node.name)


def layers_of(operations: Iterable[Operation], trained: Iterable[str]) -> tuple[Layer, ...]:
    """Return the layers with trained weights, in the order of the graph, one for each operation.

    Args:
        operations: Of the graph.
        trained: Names of its trained tensors.
    """
    operations, trained = list(operations), set(trained)
    found = []
    for operation in operations:
        if operation.operator not in (*CONVOLUTIONS, *LINEAR) or operation.inputs[1] not in trained:
            continue
        axis_out, axis_in = 0, 1
        if operation.operator == "ConvTranspose":
            axis_out, axis_in = 1, 0
        elif operation.operator == "MatMul" or not operation.attributes.get("transB", 0):
            axis_out, axis_in = (0, 1) if operation.operator == "Conv" else (1, 0)
        bias = operation.inputs[2] if len(operation.inputs) > 2 and operation.inputs[2] else None
        if operation.operator == "MatMul":
            bias = _added(operation, operations, trained)
        found.append(Layer(operation.inputs[1], bias, operation, axis_out, axis_in))
    return tuple(found)


def used(operations: Iterable[Operation], outputs: Iterable[str]) -> tuple[Operation, ...]:
    """Return the operations that the outputs need, in order."""
    needed, kept = set(outputs), []
    for operation in reversed(list(operations)):
        if needed & set(operation.outputs):
            kept.append(operation)
            needed |= set(operation.inputs)
    return tuple(reversed(kept))


def _added(product: Operation, operations: list[Operation], trained: set[str]) -> str | None:
    """Return the trained tensor that is added to a product, where that is its only use."""
    name = product.outputs[0]
    users = [operation for operation in operations if name in operation.inputs]
    uses = Counter(source for operation in operations for source in operation.inputs)
    if len(users) != 1 or users[0].operator != "Add" or uses[name] != 1:
        return None
    other = next(source for source in users[0].inputs if source != name)
    return other if other in trained else None
