"""One file that answers with the weighted mean of what several files answer."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from compression.graph import LOCAL_DOMAIN
from engine.errors import ArtifactError

__all__ = ["mean_file"]

LETTERS = "abcdefghijklmnopqrstuvwxyz"
INPUTS = ("x", "c")


def mean_file(files: Sequence[bytes], shares: Sequence[float]) -> bytes:
    """Return the file of a mean; tensors and functions that several files have alike are in it once.

    Args:
        files: As this package writes them: the same inputs `x` and `c`, one output of one shape, no sub-graphs.
        shares: Of each, with the sum 1.

    Raises:
        ArtifactError: If a file has sub-graphs, or other inputs than the first.

    Example:
        >>> from compression.graph import Graph
        >>> graph = Graph()
        >>> _ = graph.node("Relu", "x", output="y")
        >>> file = graph.model({"x": ("float32", (None, 4))}, {"y": ("float32", (None, 4))}, {})
        >>> [node.op_type for node in onnx.load_model_from_string(mean_file([file, file], [0.25, 0.75])).graph.node]
        ['Relu', 'Mul', 'Relu', 'Mul', 'Sum']
    """
    models = [onnx.load_model_from_string(file) for file in files]
    _check(models)
    names = ("".join(pair) for length in itertools.count(1) for pair in itertools.product(LETTERS, repeat=length))
    fresh = (name for name in names if name not in (*INPUTS, "y"))
    made = onnx.ModelProto()
    made.CopyFrom(models[0])
    for field in ("node", "initializer", "value_info"):
        made.graph.ClearField(field)
    made.ClearField("functions")
    tensors: dict[bytes, str] = {}
    functions: dict[bytes, str] = {}
    answers = []
    for model, share in zip(models, shares, strict=True):
        called = {function.name: _function(made, function, functions) for function in model.functions}
        answers.append(_appended(made, model, called, tensors, fresh))
        _raise_versions(made, model)
        if len(set(shares)) > 1:
            answers[-1] = _times(made, answers[-1], share, fresh)
    equal = len(set(shares)) == 1
    total = next(fresh) if equal else "y"
    made.graph.node.append(helper.make_node("Sum", answers, [total]))
    if equal:
        _times(made, total, shares[0], fresh, output="y")
    made.graph.output[0].name = "y"
    opset = next(entry.version for entry in made.opset_import if entry.domain == "")
    for function in made.functions:
        for entry in function.opset_import:
            entry.version = opset if entry.domain == "" else entry.version
    content: bytes = made.SerializeToString(deterministic=True)
    return content


def _check(models: Sequence[onnx.ModelProto]) -> None:
    first = [entry.SerializeToString() for entry in models[0].graph.input]
    for number, model in enumerate(models):
        if [entry.SerializeToString() for entry in model.graph.input] != first:
            raise ArtifactError(f"Files of a mean must have the same inputs; those of file {number} differ.")
        nested = [node.op_type for node in model.graph.node if any(a.HasField("g") or a.graphs for a in node.attribute)]
        if nested:
            raise ArtifactError(f"Files of a mean must have no sub-graphs; file {number} has one in {nested[0]}.")


def _function(made: onnx.ModelProto, function: onnx.FunctionProto, known: dict[bytes, str]) -> str:
    """Add a function unless an equal one is there, and return its name."""
    copied = onnx.FunctionProto()
    copied.CopyFrom(function)
    copied.name = ""
    content = copied.SerializeToString(deterministic=True)
    if content not in known:
        known[content] = copied.name = LETTERS[len(known)]
        made.functions.append(copied)
    return known[content]


def _appended(
    made: onnx.ModelProto,
    model: onnx.ModelProto,
    called: dict[str, str],
    tensors: dict[bytes, str],
    fresh: Iterator[str],
) -> str:
    """Add all of a model under new names and return that of its answer."""
    names = {entry.name: entry.name for entry in model.graph.input} | {"": ""}
    for tensor in model.graph.initializer:
        copied = onnx.TensorProto()
        copied.CopyFrom(tensor)
        copied.name = ""
        content = copied.SerializeToString(deterministic=True)
        if content not in tensors:
            tensors[content] = copied.name = next(fresh)
            made.graph.initializer.append(copied)
        names[tensor.name] = tensors[content]
    for node in model.graph.node:
        names |= {name: next(fresh) for name in node.output if name}
        copied_node = made.graph.node.add()
        copied_node.CopyFrom(node)
        copied_node.ClearField("name")
        if node.domain == LOCAL_DOMAIN:
            copied_node.op_type = called[node.op_type]
        copied_node.input[:] = [names[name] for name in node.input]
        copied_node.output[:] = [names[name] for name in node.output]
    return str(names[model.graph.output[0].name])


def _times(made: onnx.ModelProto, name: str, share: float, fresh: Iterator[str], output: str | None = None) -> str:
    factor, result = next(fresh), output or next(fresh)
    made.graph.initializer.append(numpy_helper.from_array(np.array(share, np.float32), factor))
    made.graph.node.append(helper.make_node("Mul", [name, factor], [result]))
    return result


def _raise_versions(made: onnx.ModelProto, model: onnx.ModelProto) -> None:
    known = {entry.domain: entry for entry in made.opset_import}
    for entry in model.opset_import:
        if entry.domain in known:
            known[entry.domain].version = max(known[entry.domain].version, entry.version)
        else:
            made.opset_import.add(domain=entry.domain, version=entry.version)
    made.ir_version = max(made.ir_version, model.ir_version)
