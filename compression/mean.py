"""One file that answers with the weighted mean of what several files answer."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import onnx
from onnx import helper, numpy_helper

from compression.graph import LOCAL_DOMAIN
from engine.errors import ArtifactError

__all__ = ["mean_file", "pieces"]

LETTERS = "abcdefghijklmnopqrstuvwxyz"
INPUTS = ("x", "c")
FRAME = "frame"  # what a file has beside tensors, functions and nodes: inputs, outputs, metadata
ENTRY = 2  # bytes that tell what an entry is and how long


def mean_file(files: Sequence[bytes], shares: Sequence[float]) -> bytes:
    """Return the file of a mean; what several files compute in the same way is in it once.

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
        ['Relu', 'Mul', 'Mul', 'Sum']
    """
    models = [onnx.load_model_from_string(file) for file in files]
    _check(models)
    joined = _Joined(models[0])
    equal = len(set(shares)) == 1
    answers = [joined.add(model) for model in models]
    if not equal:
        answers = [joined.times(answer, share) for answer, share in zip(answers, shares, strict=True)]
    total = next(joined.fresh) if equal else "y"
    joined.made.graph.node.append(helper.make_node("Sum", answers, [total]))
    if equal:
        joined.times(total, shares[0], output="y")
    return joined.file()


def pieces(file: bytes) -> dict[str, int]:
    """Return what a file is made of: bytes by content. Files that have a piece in common have it once in their mean.

    Args:
        file: As this package writes it.

    Example:
        >>> from compression.graph import Graph
        >>> graph = Graph()
        >>> _ = graph.node("Relu", "x", output="y")
        >>> file = graph.model({"x": ("float32", (None, 4))}, {"y": ("float32", (None, 4))}, {})
        >>> sum(pieces(file).values()) == len(file)
        True
    """
    model = onnx.load_model_from_string(file)
    found: dict[str, int] = {}

    def noted(message: onnx.TensorProto | onnx.FunctionProto | onnx.NodeProto, size: int) -> str:
        key = hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()
        found[key] = size + ENTRY
        return key

    names = {entry.name: entry.name for entry in model.graph.input} | {"": ""}
    names |= {tensor.name: noted(_nameless(tensor), tensor.ByteSize()) for tensor in model.graph.initializer}
    called = {function.name: noted(_nameless(function), function.ByteSize()) for function in model.functions}
    for node in model.graph.node:
        key = noted(_renamed(node, names, called), node.ByteSize())
        names |= {name: f"{key}.{number}" for number, name in enumerate(node.output) if name}
    found[FRAME] = len(file) - sum(found.values())
    return found


@final
@dataclass
class _Joined:
    """A graph to which models are added, each thing once.

    Args:
        first: Whose inputs, output and metadata the file has.
    """

    first: onnx.ModelProto
    made: onnx.ModelProto = field(default_factory=onnx.ModelProto)
    tensors: dict[bytes, str] = field(default_factory=dict)
    functions: dict[bytes, str] = field(default_factory=dict)
    nodes: dict[bytes, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        words = ("".join(pair) for length in itertools.count(1) for pair in itertools.product(LETTERS, repeat=length))
        self.fresh: Iterator[str] = (word for word in words if word not in (*INPUTS, "y"))
        self.made.CopyFrom(self.first)
        for name in ("node", "initializer", "value_info"):
            self.made.graph.ClearField(name)
        self.made.ClearField("functions")

    def add(self, model: onnx.ModelProto) -> str:
        """Add all of a model under new names and return that of its answer."""
        called = {function.name: self._function(function) for function in model.functions}
        names = {entry.name: entry.name for entry in model.graph.input} | {"": ""}
        for tensor in model.graph.initializer:
            copied = _nameless(tensor)
            content = copied.SerializeToString(deterministic=True)
            if content not in self.tensors:
                self.tensors[content] = copied.name = next(self.fresh)
                self.made.graph.initializer.append(copied)
            names[tensor.name] = self.tensors[content]
        for node in model.graph.node:
            renamed = _renamed(node, names, called)
            content = renamed.SerializeToString(deterministic=True)
            if content not in self.nodes:
                self.nodes[content] = [name and next(self.fresh) for name in node.output]
                renamed.output[:] = self.nodes[content]
                self.made.graph.node.append(renamed)
            names |= dict(zip(node.output, self.nodes[content], strict=True))
        _raise_versions(self.made, model)
        return str(names[model.graph.output[0].name])

    def times(self, name: str, share: float, output: str | None = None) -> str:
        """Multiply by a share."""
        factor, result = next(self.fresh), output or next(self.fresh)
        self.made.graph.initializer.append(numpy_helper.from_array(np.array(share, np.float32), factor))
        self.made.graph.node.append(helper.make_node("Mul", [name, factor], [result]))
        return result

    def file(self) -> bytes:
        """Return the finished file."""
        self.made.graph.output[0].name = "y"
        opset = next(entry.version for entry in self.made.opset_import if entry.domain == "")
        for function in self.made.functions:
            for entry in function.opset_import:
                entry.version = opset if entry.domain == "" else entry.version
        content: bytes = self.made.SerializeToString(deterministic=True)
        return content

    def _function(self, function: onnx.FunctionProto) -> str:
        """Add a function unless an equal one is there, and return its name."""
        copied = _nameless(function)
        content = copied.SerializeToString(deterministic=True)
        if content not in self.functions:
            self.functions[content] = copied.name = LETTERS[len(self.functions)]
            self.made.functions.append(copied)
        return self.functions[content]


def _check(models: Sequence[onnx.ModelProto]) -> None:
    first = [entry.SerializeToString() for entry in models[0].graph.input]
    for number, model in enumerate(models):
        if [entry.SerializeToString() for entry in model.graph.input] != first:
            raise ArtifactError(f"Files of a mean must have the same inputs; those of file {number} differ.")
        nested = [node.op_type for node in model.graph.node if any(a.HasField("g") or a.graphs for a in node.attribute)]
        if nested:
            raise ArtifactError(f"Files of a mean must have no sub-graphs; file {number} has one in {nested[0]}.")


def _nameless(message: Any) -> Any:
    """Return a copy of a tensor or a function without its name."""
    copied = type(message)()
    copied.CopyFrom(message)
    copied.name = ""
    return copied


def _renamed(node: onnx.NodeProto, names: Mapping[str, str], called: Mapping[str, str]) -> onnx.NodeProto:
    """Return a copy of a node with other names of inputs and of the function that it calls, and without outputs."""
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    copied.ClearField("name")
    copied.ClearField("output")
    copied.input[:] = [names[name] for name in node.input]
    if node.domain == LOCAL_DOMAIN:
        copied.op_type = called[node.op_type]
    return copied


def _raise_versions(made: onnx.ModelProto, model: onnx.ModelProto) -> None:
    known = {entry.domain: entry for entry in made.opset_import}
    for entry in model.opset_import:
        if entry.domain in known:
            known[entry.domain].version = max(known[entry.domain].version, entry.version)
        else:
            made.opset_import.add(domain=entry.domain, version=entry.version)
    made.ir_version = max(made.ir_version, model.ir_version)
