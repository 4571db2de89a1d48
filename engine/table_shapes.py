"""Shapes of what the ONNX operators for tables return, where onnx's own shape inference leaves them out."""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx
from onnx import helper

from engine.folding import Shape

__all__ = ["table_shapes"]

LABELS = ("classlabels_ints", "classlabels_int64s", "classlabels_strings")


def table_shapes(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the shapes of a node's outputs by name; nothing for operators that onnx knows, or that we do not.

    Args:
        node: Of any operator.
        shapes: Known so far, by name.
    """
    source = shapes.get(node.input[0]) if node.domain == "ai.onnx.ml" and node.input else None
    if not source:
        return {}
    given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    rows = source[0] if len(source) > 1 else 1
    classes = max(len(given.get(name, ())) for name in LABELS)
    made: list[Shape] = []
    if node.op_type == "ArrayFeatureExtractor" and len(node.input) > 1 and node.input[1] in shapes:
        made = [(*(source[:-1] or (1,)), math.prod(shapes[node.input[1]]))]
    elif node.op_type in ("TreeEnsembleRegressor", "SVMRegressor"):
        made = [(rows, int(given.get("n_targets", 1)))]
    elif node.op_type == "TreeEnsembleClassifier":
        made = [(rows,), (rows, classes)]
    elif node.op_type == "SVMClassifier":
        has_votes = "prob_a" not in given and classes > 2  # a vote for each pair of classes
        made = [(rows,), (rows, classes * (classes - 1) // 2 if has_votes else classes)]
    return {name: shape for name, shape in zip(node.output, made, strict=False) if name}
