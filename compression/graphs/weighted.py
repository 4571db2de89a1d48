"""The layers of a model whose weights can be coded: where their channels are, and what they multiply."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from compression.graphs.fold import attribute_of

__all__ = ["Layer", "layers_of"]

RECURRENT = ("LSTM", "GRU", "RNN")


@final
@dataclass(frozen=True, eq=False)
class Layer:
    """One weight and the node that it belongs to.

    Args:
        weight: Name of the initializer.
        values: float32, as in the model.
        axis: Of the weight, along which the output channels lie.
        node: The operator, with its attributes.
        source: What it multiplies: name of the other input, where the product has the form that `order` describes.
        output: Name of what it makes.
        bias: Name of the initializer that is added to its output channels; None where there is none, or it is shared.
    """

    weight: str
    values: np.ndarray
    axis: int
    node: NodeProto
    source: str | None
    output: str
    bias: str | None

    @property
    def groups(self) -> int:
        """Groups of a convolution; 1 for everything else."""
        return int(attribute_of(self.node, "group", 1))

    @property
    def channels(self) -> int:
        """Length of the axis of output channels."""
        return int(self.values.shape[self.axis])

    @cached_property
    def order(self) -> np.ndarray:
        """The weight as products: flat places, int, shape (groups, rows, inputs).

        A row of the weight in this order meets a vector of inputs; each output is such a sum, or a part of one for
        transposed convolutions.
        """
        shape = self.values.shape
        places = np.arange(self.values.size).reshape(shape)
        if self.node.op_type == "Conv":
            return places.reshape(self.groups, shape[0] // self.groups, -1)
        if self.node.op_type == "ConvTranspose":
            split = places.reshape(self.groups, shape[0] // self.groups, -1)
            return np.swapaxes(split, 1, 2)
        return np.moveaxis(places, self.axis, 0).reshape(1, self.channels, -1)

    @cached_property
    def channel_of(self) -> np.ndarray:
        """Output channel of each row of `order`: int, shape (groups, rows)."""
        return np.asarray(np.unravel_index(self.order[:, :, 0], self.values.shape)[self.axis])


def layers_of(model: ModelProto) -> list[Layer]:
    """Return the weighted layers of a model in the order in which they run; a shared weight once, at its first use.

    Convolutions of all kinds, Gemm, MatMul with a constant side, recurrent layers, and Gather from a table.
    """
    tensors = {t.name: t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}
    uses = Counter(name for node in model.graph.node for name in node.input)
    found: dict[str, Layer] = {}
    for node in model.graph.node:
        for place, axis in _weights(node, tensors):
            name = node.input[place]
            if name not in found:
                bias = _bias(model, node, tensors, uses)
                source = _source(node, place, tensors[name])
                values = numpy_helper.to_array(tensors[name])
                found[name] = Layer(name, values, axis, node, source, node.output[0], bias)
    return list(found.values())


def _weights(node: NodeProto, tensors: Mapping[str, TensorProto]) -> list[tuple[int, int]]:
    """Return places of weights among the inputs of a node, with the axis of their output channels."""
    if node.domain not in ("", "ai.onnx"):
        return []
    kind = node.op_type
    if kind in RECURRENT:
        return [(place, 1) for place in (1, 2) if node.input[place] in tensors]
    known = [place for place, name in enumerate(node.input[:2]) if name in tensors and len(tensors[name].dims) > 1]
    if kind == "Gather":
        return [(0, len(tensors[node.input[0]].dims) - 1)] if 0 in known else []
    if kind == "MatMul" and len(known) == 1:
        dims = len(tensors[node.input[known[0]]].dims)
        return [(known[0], dims - 2 if known[0] == 0 else dims - 1)]
    if kind not in ("Conv", "ConvTranspose", "Gemm") or 1 not in known:
        return []
    is_second = kind == "ConvTranspose" or (kind == "Gemm" and not attribute_of(node, "transB", 0))
    return [(1, 1 if is_second else 0)]


def _source(node: NodeProto, place: int, tensor: TensorProto) -> str | None:
    if node.op_type in ("Conv", "ConvTranspose"):
        return str(node.input[0])
    is_plain = place == 1 and len(tensor.dims) == 2 and not attribute_of(node, "transA", 0)
    return str(node.input[0]) if node.op_type in ("Gemm", "MatMul") and is_plain else None


def _bias(model: ModelProto, node: NodeProto, tensors: Mapping[str, TensorProto], uses: Counter[str]) -> str | None:
    if node.op_type in ("Conv", "ConvTranspose", "Gemm"):
        name = node.input[2] if len(node.input) > 2 else ""
    else:
        readers = [other for other in model.graph.node if node.output[0] in other.input]
        is_sum = node.op_type == "MatMul" and len(readers) == 1 and readers[0].op_type == "Add"
        name = next((name for name in readers[0].input if name in tensors), "") if is_sum else ""
    is_flat = name in tensors and list(tensors[name].dims)[-1:] == [numpy_helper.to_array(tensors[name]).size]
    return name if is_flat and uses[name] == 1 else None
