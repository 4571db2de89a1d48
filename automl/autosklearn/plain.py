"""What skl2onnx writes with operators for machine learning, as plain operators: smaller, and open to coding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

__all__ = ["plain"]

LINKS = {"NONE": None, "LOGISTIC": "Sigmoid", "SOFTMAX": "Softmax"}
ML_DOMAIN = "ai.onnx.ml"
TINY = 1e-37  # instead of a norm of zero; above the smallest normal float32


def plain(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with imputers, scalers, column selections and linear models as plain operators.

    Everything else stays. Of a linear classifier only the scores are written, not the labels.

    Args:
        model: Left as it is.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    nodes: list[onnx.NodeProto] = []
    for number, node in enumerate(model.graph.node):
        write = WRITERS.get(node.op_type) if node.domain == ML_DOMAIN else None
        given = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        nodes += write(_Paper(made.graph, f"plain/{number}/"), node, given) if write else [node]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return made


class _Paper:
    """Names and constants for the nodes that replace one node."""

    def __init__(self, graph: onnx.GraphProto, prefix: str) -> None:
        self._graph, self._prefix, self._count = graph, prefix, 0

    def name(self) -> str:
        self._count += 1
        return f"{self._prefix}{self._count}"

    def constant(self, values: Any, dtype: type) -> str:
        name = self.name()
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name


def _imputer(paper: _Paper, node: onnx.NodeProto, given: dict[str, Any]) -> list[onnx.NodeProto]:
    replaced = given.get("replaced_value_float", 0.0)
    if "imputed_value_floats" not in given or not np.isnan(replaced):
        return [node]
    missing = paper.name()
    values = paper.constant(given["imputed_value_floats"], np.float32)
    return [
        helper.make_node("IsNaN", [node.input[0]], [missing]),
        helper.make_node("Where", [missing, values, node.input[0]], [node.output[0]]),
    ]


def _scaler(paper: _Paper, node: onnx.NodeProto, given: dict[str, Any]) -> list[onnx.NodeProto]:
    moved = paper.name()
    offset, scale = (paper.constant(given[name], np.float32) for name in ("offset", "scale"))
    return [
        helper.make_node("Sub", [node.input[0], offset], [moved]),
        helper.make_node("Mul", [moved, scale], [node.output[0]]),
    ]


def _selection(_: _Paper, node: onnx.NodeProto, __: dict[str, Any]) -> list[onnx.NodeProto]:
    return [helper.make_node("Gather", list(node.input), list(node.output), axis=-1)]


def _linear(paper: _Paper, node: onnx.NodeProto, given: dict[str, Any]) -> list[onnx.NodeProto]:
    is_classifier = node.op_type == "LinearClassifier"
    link = given.get("post_transform", b"NONE").decode()
    bias = np.asarray(given.get("intercepts", [0.0]), np.float32)
    weight = np.asarray(given["coefficients"], np.float32).reshape(len(bias), -1)
    if link not in LINKS or (is_classifier and len(bias) == 1):
        return [node]
    output = node.output[1 if is_classifier else 0]
    operator = LINKS[link]
    scores = paper.name() if operator else output
    constants = [paper.constant(weight.T, np.float32), paper.constant(bias, np.float32)]
    made = [helper.make_node("Gemm", [node.input[0], *constants], [scores])]
    if operator:
        made.append(helper.make_node(operator, [scores], [output]))
    return made


def _normalizer(paper: _Paper, node: onnx.NodeProto, given: dict[str, Any]) -> list[onnx.NodeProto]:
    if given.get("norm", b"MAX") != b"L1":
        return [node]
    sizes, total, bounded = paper.name(), paper.name(), paper.name()
    axes, least = paper.constant([1], np.int64), paper.constant(TINY, np.float32)
    return [
        helper.make_node("Abs", [node.input[0]], [sizes]),
        helper.make_node("ReduceSum", [sizes, axes], [total]),
        helper.make_node("Max", [total, least], [bounded]),
        helper.make_node("Div", [node.input[0], bounded], [node.output[0]]),
    ]


WRITERS: dict[str, Callable[[_Paper, onnx.NodeProto, dict[str, Any]], list[onnx.NodeProto]]] = {
    "Imputer": _imputer,
    "Scaler": _scaler,
    "ArrayFeatureExtractor": _selection,
    "Normalizer": _normalizer,
    "LinearClassifier": _linear,
    "LinearRegressor": _linear,
}
