"""Moving a model to another opset, where every node keeps its meaning."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx
from onnx import GraphProto, ModelProto, NodeProto

from engine.errors import ArtifactError

__all__ = ["all_nodes", "inner_graphs", "lowered", "opset_of", "raised"]

LOWEST = 13  # Softmax, Split, Squeeze and the reductions have their present form from here on

# Operators whose later versions only took further element types, or attributes that default to what was done before:
# the opset from which on that holds, up to 25.
GROWN = {
    "Abs": 6, "Add": 7, "And": 7, "ArgMax": 12, "ArgMin": 12, "AveragePool": 7, "Cast": 9, "Ceil": 6, "Clip": 11,
    "Concat": 4, "Conv": 1, "ConvTranspose": 1, "CumSum": 11, "DepthToSpace": 11, "DequantizeLinear": 13, "Div": 7,
    "Elu": 6, "Equal": 7, "Erf": 9, "Exp": 6, "Flatten": 9, "Floor": 6, "GRU": 7, "Gather": 1, "GatherElements": 11,
    "Gemm": 11, "GlobalAveragePool": 1, "GlobalMaxPool": 1, "Greater": 9, "HardSigmoid": 6, "HardSwish": 14,
    "Identity": 1, "InstanceNormalization": 6, "LRN": 1, "LSTM": 7, "LeakyRelu": 6, "Less": 9, "Log": 6,
    "LogSoftmax": 13, "MatMul": 1, "Max": 8, "MaxPool": 8, "Min": 8, "Mish": 18, "Mod": 10, "Mul": 7, "Neg": 6,
    "Not": 1, "Or": 7, "PRelu": 9, "Pad": 13, "Pow": 12, "QuantizeLinear": 13, "RNN": 7, "Reciprocal": 6,
    "ReduceSum": 13, "Relu": 6, "Reshape": 5, "Resize": 13, "ScatterElements": 16, "Selu": 6, "Shape": 1, "Sigmoid": 6,
    "Size": 1, "Slice": 10, "Softmax": 13, "Softplus": 1, "Softsign": 1, "SpaceToDepth": 1, "Sqrt": 6, "Squeeze": 13,
    "Sub": 7, "Sum": 8, "Tanh": 6, "ThresholdedRelu": 10, "Transpose": 1, "Unsqueeze": 13, "Where": 9, "Xor": 7,
}  # fmt: skip


def opset_of(model: ModelProto) -> int:
    """Return the version of the standard operators that a model asks for; 1 if it names none."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)


def inner_graphs(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs in the attributes of a node."""
    for attribute in node.attribute:
        yield from [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def all_nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Yield nodes and those of the graphs inside them."""
    for node in nodes:
        yield node
        for inner in inner_graphs(node):
            yield from all_nodes(inner.node)


def lowered(model: ModelProto) -> int:
    """Return the lowest opset, 13 or more, in which all nodes have the very definition that they have now.

    A model below 13, or with local functions, keeps its own.
    """
    now = opset_of(model)
    if now <= LOWEST or model.functions:
        return now
    versions = [_since(node.op_type, now) for node in all_nodes(model.graph.node) if node.domain in ("", "ai.onnx")]
    return max([LOWEST, *versions])


def raised(model: ModelProto, version: int) -> ModelProto:
    """Return a model that does the same and asks for this opset at least.

    Args:
        model: Left as it is.
        version: Of the standard operators.

    Returns:
        The model itself, copied; where an operator has changed its meaning, converted by ONNX's own converter.

    Raises:
        ArtifactError: If that converter fails; it names the operators that stand in the way.
    """
    now = opset_of(model)
    moved = ModelProto()
    moved.CopyFrom(model)
    if now >= version:
        return moved
    if moved.functions:
        from onnx import inliner

        moved = inliner.inline_local_functions(moved)
    changed = sorted({node.op_type for node in all_nodes(moved.graph.node) if not _keeps_meaning(node, now, version)})
    if changed:
        from onnx import version_converter

        try:
            return version_converter.convert_version(moved, version)
        except Exception as error:  # RuntimeError and its like, none with a root of its own
            raise ArtifactError(
                f"The model is written for opset {now} and the codings asked for need {version}; {', '.join(changed)} "
                f"cannot be moved there: {error}. Export the model with opset {version}, or take another coding."
            ) from error
    for entry in moved.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = version
    return moved


def _keeps_meaning(node: NodeProto, now: int, version: int) -> bool:
    if node.domain not in ("", "ai.onnx"):
        return True
    if _since(node.op_type, now) == _since(node.op_type, version):
        return True
    if node.op_type == "Split":  # from 18 on the number of parts must be told where their sizes are not
        return now >= LOWEST and len(node.input) > 1
    return now >= GROWN.get(node.op_type, version)


def _since(operator: str, version: int) -> int:
    try:
        return int(onnx.defs.get_schema(operator, version, "").since_version)
    except onnx.defs.SchemaError:  # unknown to this package: leave it where it is
        return version
