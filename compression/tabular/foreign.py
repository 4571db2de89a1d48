"""Estimators that have no lowering of ours: skl2onnx writes them, and what it wrote becomes part of our graph."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import onnx

from compression.dense import Manner, linked
from compression.features import Block, Blocks, gathered, matrix, width
from compression.tables import TableGraph
from engine.errors import ArtifactError, MissingExtraError

__all__ = ["Foreign", "ForeignModel"]

OPSETS = {"": 19, "ai.onnx.ml": 3}


@final
@dataclass(frozen=True, eq=False)
class Foreign:
    """A fitted scikit-learn transformer, as a step."""

    transformer: Any

    def lower(self, graph: TableGraph, blocks: Blocks, /) -> Blocks:
        """Write the transformer on all its features at once.

        Raises:
            ArtifactError: If it takes numbers and texts at once, or skl2onnx cannot write it.
        """
        name, model = _converted(graph, blocks, self.transformer, {})
        output = model.graph.output[0]
        size = output.type.tensor_type.shape.dim[-1].dim_value or _features_out(self.transformer)
        made = graph.splice(model, {"x": name}, output.name)
        if output.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
            made = graph.node("Cast", made, to=1)
        return (Block.whole(made, size),)


@final
@dataclass(frozen=True, eq=False)
class ForeignModel:
    """A fitted scikit-learn classifier or regressor.

    Args:
        estimator: Fitted on the features alone.
        answers: What it gives: `values`, `probabilities`, `scores` (a decision function) or `labels`.
    """

    estimator: Any
    answers: str
    codings: tuple[str, ...] = ("float32",)

    def lower(self, graph: TableGraph, blocks: Blocks, _: Manner, /) -> tuple[str, ForeignModel]:
        """Write the estimator.

        Raises:
            ArtifactError: If skl2onnx cannot write it.
        """
        options = {} if self.answers == "values" else {"zipmap": False}
        name, model = _converted(graph, blocks, self.estimator, options)
        outputs = list(model.graph.output)
        if self.answers == "labels":
            return self._labels(graph, graph.splice(model, {"x": name}, outputs[0].name), outputs[0]), self
        output = outputs[0 if self.answers == "values" else 1]
        made = graph.splice(model, {"x": name}, output.name)
        if output.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
            made = graph.node("Cast", made, to=1)
        if self.answers == "scores":
            made = self._scores(graph, made, output.type.tensor_type.shape.dim[-1].dim_value)
        elif self.answers == "values":
            made = graph.node("Reshape", made, graph.integers([-1, 1]))
        return made, self

    def _labels(self, graph: TableGraph, labels: str, output: onnx.ValueInfoProto) -> str:
        column = graph.node("Reshape", labels, graph.integers([-1, 1]))
        classes = self.estimator.classes_
        if output.type.tensor_type.elem_type == onnx.TensorProto.STRING:
            known = graph.texts(list(map(str, classes)))
        else:
            known = graph.integers(classes.astype(np.int64))
        return graph.node("Cast", graph.node("Equal", column, known), to=1)

    def _scores(self, graph: TableGraph, scores: str, size: int) -> str:
        """Of two classes skl2onnx writes one score or two, of which the second is the decision."""
        if len(self.estimator.classes_) > 2:
            return linked(graph, scores, "softmax")
        if size != 1:
            scores = graph.node("Gather", scores, graph.integers([1]), axis=1)
        return linked(graph, scores, "sigmoid")


def _converted(
    graph: TableGraph, blocks: Blocks, estimator: Any, options: dict[str, Any]
) -> tuple[str, onnx.ModelProto]:
    """Write the features side by side, and the estimator as a model with the input `x`."""
    try:
        from skl2onnx import convert_sklearn
        from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    except ImportError as error:
        raise MissingExtraError(
            f"{type(estimator).__name__} is left to skl2onnx, which is not installed: pip install skl2onnx."
        ) from error
    title = type(estimator).__name__
    is_text = [block.is_text for block in blocks]
    if any(is_text) and (not all(is_text) or len(blocks) > 1):
        raise ArtifactError(
            f"{title} takes numbers and texts at once, which cannot be written: encode the texts before it, "
            "with OneHotEncoder or OrdinalEncoder in a ColumnTransformer."
        )
    kind = StringTensorType if any(is_text) else FloatTensorType
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            model = convert_sklearn(
                estimator,
                initial_types=[("x", kind([None, width(blocks)]))],
                target_opset=OPSETS,
                options={id(estimator): options} if options else None,
            )
    except Exception as error:  # its exception types share no public root
        said = str(error).strip().splitlines()
        raise ArtifactError(
            f"{title} cannot be written: skl2onnx says {said[0] if said else type(error)!s:.300}"
        ) from error
    return gathered(graph, blocks[0]) if any(is_text) else matrix(graph, blocks), model


def _features_out(transformer: Any) -> int:
    try:
        return len(transformer.get_feature_names_out())
    except Exception as error:  # each transformer has its own reason
        raise ArtifactError(f"{type(transformer).__name__} does not say how many features it makes: {error}") from error
