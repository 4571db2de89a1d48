"""Making a user's model take the rows of a data set and give what the engine scores."""

from __future__ import annotations

import json
import math

import numpy as np
import onnx
from onnx import numpy_helper

from engine.artifact import session
from engine.data import Signature
from engine.errors import ArtifactError, DataError

__all__ = ["fitted"]

TOLERANCE = 1e-3  # of the sum of the probabilities of a row
PREFIX = "fitted"


def fitted(model: onnx.ModelProto, signature: Signature, x: np.ndarray) -> onnx.ModelProto:
    """Return a model with the input `x` and the output `y` of the project's files.

    The input is renamed, and reshaped where the model takes the same numbers in another shape. The first output is
    renamed, the others are dropped; for classes a Softmax is added unless its rows are probabilities already. What the
    model expects of the values (a range, a mean) is the data's business: none of it is changed.

    Args:
        model: The user's; left as it is.
        signature: Of the data.
        x: Some rows, for looking at outputs.

    Raises:
        DataError: If the data cannot be what the model takes, or have other classes than it has outputs.
        ArtifactError: If the model cannot be run on them.
    """
    if signature.categorical_columns:
        raise DataError(
            "The data have columns of text, which a model with one numeric input cannot take: drop them with data.drop."
        )
    made = onnx.ModelProto()
    made.CopyFrom(model)
    given = {tensor.name for tensor in made.graph.initializer}
    inputs = [value for value in made.graph.input if value.name not in given]
    if len(inputs) != 1:
        raise DataError(f"The model must have one input, it has {len(inputs)}: {', '.join(v.name for v in inputs)}.")
    _rename(made.graph, inputs[0].name, "x")
    _fit_input(made.graph, inputs[0], signature)
    del made.graph.output[1:]
    output = made.graph.output[0]
    _rename(made.graph, output.name, "y")
    outputs = _outputs(made, x, _dtype(inputs[0]))
    width = math.prod(outputs.shape[1:])
    if width != signature.outputs:
        raise DataError(
            f"The model gives {width} outputs a row, the data have {signature.outputs} "
            f"{'classes' if signature.task == 'classification' else 'value'}: {', '.join(signature.classes[:12])}."
        )
    if signature.task == "classification" and not _are_probabilities(outputs):
        _append(made.graph, "Softmax")
    _describe_output(output, width)
    _tell_classes(made, signature)
    return made


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Rename a value; another one that has the new name already makes room."""
    if old == new:
        return
    names = {new: f"{PREFIX}/{new}", old: new}
    for node in graph.node:
        for place in (node.input, node.output):
            for number, name in enumerate(place):
                place[number] = names.get(name, name)
    for values in (graph.input, graph.output, graph.initializer, graph.value_info):
        for value in values:
            value.name = names.get(value.name, value.name)


def _dtype(value: onnx.ValueInfoProto) -> str:
    return str(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)))


def _fit_input(graph: onnx.GraphProto, value: onnx.ValueInfoProto, signature: Signature) -> None:
    """Let the input have the shape of the data, with a free batch; the model reshapes rows where it must."""
    dtype = _dtype(value)
    if dtype not in ("float32", "uint8") or (dtype == "uint8" and signature.dtype != "uint8"):
        raise DataError(f"The model takes {dtype}, the data are {signature.dtype}: give it an input of float32.")
    sizes = [size.dim_value or None for size in value.type.tensor_type.shape.dim][1:]
    same = len(sizes) == len(signature.shape) and all(
        a in (None, b) for a, b in zip(sizes, signature.shape, strict=True)
    )
    if not same:
        if None in sizes or math.prod(size or 0 for size in sizes) != math.prod(signature.shape):
            wanted, got = (" x ".join(str(size or "?") for size in shape) for shape in (sizes, signature.shape))
            raise DataError(f"The model takes rows of {wanted}, the data have rows of {got}.")
        inner = f"{PREFIX}/rows"
        for node in graph.node:
            for number, name in enumerate(node.input):
                node.input[number] = inner if name == "x" else name
        target = numpy_helper.from_array(np.array([-1, *(size or 0 for size in sizes)], np.int64), f"{PREFIX}/shape")
        graph.initializer.append(target)
        graph.node.insert(0, onnx.helper.make_node("Reshape", ["x", target.name], [inner]))
    element = value.type.tensor_type.elem_type
    value.CopyFrom(onnx.helper.make_tensor_value_info("x", element, [_batch(value), *signature.shape]))


def _batch(value: onnx.ValueInfoProto) -> int | None:
    """A batch that the model fixes stays fixed: reading it into torch is what frees it."""
    dimensions = value.type.tensor_type.shape.dim
    return dimensions[0].dim_value or None if dimensions else None


def _outputs(model: onnx.ModelProto, x: np.ndarray, dtype: str) -> np.ndarray:
    batch = _batch(model.graph.input[0])
    opened = session(model.SerializeToString())
    parts = [x] if batch is None else [x[n : n + batch] for n in range(0, len(x) - batch + 1, batch)]
    try:
        return np.concatenate([np.asarray(opened.run(None, {"x": part.astype(dtype)})[0]) for part in parts])
    except Exception as error:  # the exception types of ONNX Runtime share no public root
        raise ArtifactError(f"The model cannot be run on rows of the data: {error}") from error


def _are_probabilities(outputs: np.ndarray) -> bool:
    return bool((outputs >= 0).all() and np.abs(outputs.sum(axis=1) - 1).max() <= TOLERANCE)


def _append(graph: onnx.GraphProto, operator: str) -> None:
    inner = f"{PREFIX}/y"
    for node in graph.node:
        for place in (node.input, node.output):
            for number, name in enumerate(place):
                place[number] = inner if name == "y" else name
    graph.node.append(onnx.helper.make_node(operator, [inner], ["y"]))


def _describe_output(output: onnx.ValueInfoProto, width: int) -> None:
    dimensions = output.type.tensor_type.shape.dim
    if len(dimensions) != 2:
        raise DataError(f"The model must give one row of outputs for each row, got {len(dimensions)} axes.")
    output.CopyFrom(onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, width]))


def _tell_classes(model: onnx.ModelProto, signature: Signature) -> None:
    """Name the classes, unless they are called 0, 1, 2, ... as they are where a file names none."""
    del model.metadata_props[:]
    if signature.task == "regression":
        model.metadata_props.add(key="task", value="regression")
    elif signature.classes != tuple(str(number) for number in range(signature.outputs)):
        text = json.dumps(list(signature.classes), separators=(",", ":"), ensure_ascii=False)
        model.metadata_props.add(key="classes", value=text)
