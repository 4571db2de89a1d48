"""Weights that are coded already, as plain tensors again."""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, inliner, numpy_helper

from compression.graphs.opset import all_nodes
from compression.graphs.shorten import live_nodes
from engine.artifact import session
from engine.errors import ArtifactError

__all__ = ["unpacked"]


def unpacked(model: ModelProto) -> ModelProto:
    """Return the model with everything computed that does not depend on its inputs, whatever it takes.

    What another tool, or this one, has packed, becomes float32 weights that can be coded anew. Local functions are
    written out where they are called.

    Args:
        model: Left as it is.

    Raises:
        ArtifactError: If ONNX Runtime cannot compute the constants.
    """
    made = ModelProto()
    made.CopyFrom(inliner.inline_local_functions(model) if model.functions else model)
    constants = {tensor.name for tensor in made.graph.initializer}
    constants |= {sparse.values.name for sparse in made.graph.sparse_initializer}
    decoding: list[NodeProto] = []
    rest: list[NodeProto] = []
    for node in made.graph.node:
        is_constant = all(name in constants for name in node.input) and not node.op_type.startswith("Random")
        (decoding if is_constant else rest).append(node)
        constants |= set(node.output) if is_constant else set()
    ends = {value.name for value in made.graph.output}
    read = {name for node in all_nodes(rest) for name in node.input} | ends
    wanted = [name for node in decoding for name in node.output if name in read]
    if not wanted or ends & constants:
        return made
    values = _computed(made, decoding, wanted)
    copies = GraphProto(node=rest)
    del made.graph.node[:]
    made.graph.node.extend(copies.node)
    made.graph.initializer.extend(numpy_helper.from_array(values[name], name) for name in wanted)
    return made


def _computed(model: ModelProto, nodes: list[NodeProto], wanted: list[str]) -> dict[str, np.ndarray]:
    alone = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    alone.graph.name = "constants"
    alone.graph.node.extend(nodes)
    alone.graph.initializer.extend(model.graph.initializer)
    alone.graph.sparse_initializer.extend(model.graph.sparse_initializer)
    alone.graph.output.extend(ValueInfoProto(name=name) for name in wanted)
    live = live_nodes(alone.graph)
    del alone.graph.node[:]
    alone.graph.node.extend(live)
    try:
        found = session(alone.SerializeToString(), optimized=False).run(wanted, {})
    except Exception as error:  # ONNX Runtime's exception types share no public root
        raise ArtifactError(f"ONNX Runtime cannot compute the constants of the model: {error}") from error
    return {name: np.asarray(value) for name, value in zip(wanted, found, strict=True)}
