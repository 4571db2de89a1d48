"""From a pipeline of auto-sklearn to one small file: our inputs before it, its trees packed, its weights coded."""

from __future__ import annotations

import numpy as np
import onnx

from automl.autosklearn.forest import KINDS, ensemble_of
from automl.autosklearn.found import Encoding, Pipeline
from automl.autosklearn.plain import plain
from automl.table import Table
from compression.dense import linked
from compression.features import matrix, start, width
from compression.graphs.apply import Choice, apply
from compression.graphs.choices import uniform
from compression.graphs.fold import simplified
from compression.graphs.strip import stripped
from compression.graphs.weighted import layers_of
from compression.tables import TableGraph
from compression.tabular.categories import OneHot
from compression.tabular.preprocessing import Chain, Union
from compression.trees.lower import lower_ensemble, lower_link
from engine.artifact import Artifact, session
from engine.data import Rows
from engine.errors import ArtifactError
from engine.guard import checked_model

__all__ = ["lower"]

# Root mean squares, of probabilities or of values in their spread. auto-sklearn scales in float64, files in float32: a
# row within that rounding of a threshold may go another way in a tree.
MOST_OFF = 0.02
MOST_MOVED = 0.25  # by a coding of fewer bits
CALIBRATION_ROWS = 256
LEAVES = {"float32": "exact", "float16": "float16", "int8": "int8", "int4": "int4"}


def lower(pipeline: Pipeline, part: str, coding: str, encoding: Encoding, table: Table, valid: Rows) -> Artifact:
    """Return the file of a pipeline, compared with what the pipeline itself says of the validation rows.

    Args:
        pipeline: Of auto-sklearn.
        part: `train` or `all`: the rows it was trained on.
        coding: Of leaf values and weights; float32 keeps them as they are.
        encoding: From inputs to the numbers that the pipeline takes.
        table: Of the data.
        valid: Validation rows.

    Raises:
        ArtifactError: If the file does not say what the pipeline says.
    """
    foreign = plain(onnx.load_model_from_string(pipeline.file(part)))
    spread = 1.0 if table.signature.classes else float(np.std(table.y)) or 1.0
    exact = _written(foreign, pipeline.how, "exact", encoding, table)
    found, expected = _answers(exact, valid), pipeline.says(part)
    if found.shape != expected.shape:
        raise ArtifactError(f"{pipeline.name} answers with shape {expected.shape}, its file with {found.shape}.")
    off = _root_mean_square((found - expected) / spread)
    if off > MOST_OFF:
        raise ArtifactError(f"The file of {pipeline.name} is {off:.2g} off the pipeline's answers, at most {MOST_OFF}.")
    content = exact if coding == "float32" else _coded(foreign, pipeline.how, coding, encoding, table, valid)
    moved = _root_mean_square((_answers(content, valid) - found) / spread)
    if moved > MOST_MOVED:
        raise ArtifactError(f"{coding} moves the answers of {pipeline.name} by {moved:.2g}, at most {MOST_MOVED}.")
    told = {"coding": coding, "parity": {"pipeline_difference": off, "rounding_difference": moved}}
    return Artifact(content, {**told, "description": f"auto-sklearn: {pipeline.name}"})


def _written(foreign: onnx.ModelProto, how: str, leaves: str, encoding: Encoding, table: Table) -> bytes:
    """Return a file from our inputs to the answers of the pipeline."""
    graph, signature = TableGraph(), table.signature
    blocks = start(graph, table.frame)
    count = len(signature.numeric_columns)
    numbers = tuple(range(count))
    texts = tuple(range(count, count + len(encoding.categories)))
    step = Union(((numbers, Chain(())), (texts, OneHot(encoding.categories)))) if texts else Chain(())
    prepared = step.lower(graph, blocks)
    name, size = matrix(graph, prepared), width(prepared)
    output = foreign.graph.output[0].name
    forests = [node for node in foreign.graph.node if node.op_type in KINDS]
    if len(forests) == 1:
        node = forests[0]
        features = name if node.input[0] == "x" else graph.splice(foreign, {"x": name}, node.input[0])
        ensemble = ensemble_of(node, _columns(foreign, node.input[0], size), signature.outputs)
        result = lower_link(graph, ensemble, lower_ensemble(graph, ensemble, features, leaves=leaves))
    else:
        result = graph.splice(foreign, {"x": name}, output)
    result = _linked(graph, result, how, signature.outputs)
    if not signature.classes:
        result = graph.node("Reshape", result, graph.integers([-1, 1]))
    content = graph.table(result, table.frame, signature.outputs, signature.classes or None)
    model = stripped(onnx.load_model_from_string(content))
    used = {node.domain for node in model.graph.node} | {""} | {function.domain for function in model.functions}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    made = bytes(model.SerializeToString(deterministic=True))
    checked_model(made)
    return made


def _coded(foreign: onnx.ModelProto, how: str, coding: str, encoding: Encoding, table: Table, valid: Rows) -> bytes:
    """Return the file with leaf values and weights in a coding of fewer bits."""
    content = _written(foreign, how, LEAVES[coding], encoding, table)
    model = simplified(onnx.load_model_from_string(content))
    layers = layers_of(model)
    if not layers:
        return content
    rows = {name: np.asarray(column[:CALIBRATION_ROWS]) for name, column in valid.inputs().items()}
    rows = {name: column.astype(object) if column.dtype.kind == "U" else column for name, column in rows.items()}
    coded = apply(model, uniform(layers, Choice(coding)), rows).model
    return min(content, coded, key=len)


def _linked(graph: TableGraph, result: str, how: str, outputs: int) -> str:
    """Write how auto-sklearn makes probabilities of what a model says."""
    if how == "softmax":
        return linked(graph, result, "softmax")
    if how != "decision":
        return result
    if outputs > 2:
        return linked(graph, result, "softmax")
    last = graph.node("Gather", result, graph.integers([-1]), axis=1)  # of one score or two, the second decides
    return linked(graph, last, "sigmoid")


def _columns(model: onnx.ModelProto, name: str, size: int) -> int:
    """Return how many columns a tensor of a model has, by running the model on one row."""
    if name == "x":
        return size
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    opened = session(probe.SerializeToString())
    return int(opened.run(None, {"x": np.zeros((1, size), np.float32)})[0].shape[1])


def _answers(content: bytes, rows: Rows) -> np.ndarray:
    return np.asarray(Artifact(content).outputs(rows.inputs()), np.float64)


def _root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))
