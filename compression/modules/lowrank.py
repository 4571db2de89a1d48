"""Low-rank factors: one wide layer as two narrow ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from compression.graphs.operation import Layer, Operation
from compression.modules.importing import ImportedNetwork
from engine.errors import ArtifactError, did_you_mean

__all__ = ["factored", "full_ranks"]


def full_ranks(network: ImportedNetwork) -> dict[str, int]:
    """Return the largest useful rank of every layer that can be factored, by name of its weight.

    From there on two factors have more weights than the layer itself. Depthwise, grouped and transposed convolutions
    are left out, as are layers that share a weight.
    """
    ranks = {}
    names = [layer.weight for layer in network.layers]
    for layer in network.layers:
        weight = network.tensor(layer.weight)
        if _is_plain(layer, weight) and names.count(layer.weight) == 1:
            rows, columns = weight.shape[layer.axis_out], weight.numel() // weight.shape[layer.axis_out]
            ranks[layer.weight] = min(rows, columns, rows * columns // (rows + columns))
    return {name: rank for name, rank in ranks.items() if rank > 0}


@torch.no_grad()
def factored(network: ImportedNetwork, ranks: Mapping[str, int]) -> ImportedNetwork:
    """Return the network with some layers as products of two: the best such product in the mean square.

    A convolution becomes one with `rank` output channels and the same window, and a 1 x 1 convolution after it; a
    linear layer becomes two.

    Args:
        network: Trained; it is not changed. Retrain the result.
        ranks: By name of the weight.

    Returns:
        The network; the factors of `w` are named `w_first` and `w_second`.

    Raises:
        ArtifactError: With every layer that cannot be factored, and every rank below one.

    Example:
        `factored(network, {"fc1_weight": 8})` makes a 100 x 100 layer (10,000 weights) one of 1,600.

    Source: Denton et al. (2014), arXiv:1404.0736, section 3; convolutions over their output axis, as Zhang et al.
    (2015), arXiv:1505.06798, without their response statistics.
    """
    known = full_ranks(network)
    problems = [
        f"{name} cannot be factored{did_you_mean(name, known)} Those that can: {', '.join(known)}."
        for name in ranks
        if name not in known
    ]
    problems += [f"The rank of {name} must be at least 1, got {rank}." for name, rank in ranks.items() if rank < 1]
    if problems:
        raise ArtifactError("\n".join(problems))
    layers = {layer.operation.outputs[0]: layer for layer in network.layers if layer.weight in ranks}
    tensors, operations = network.tensors(), []
    for operation in network.operations:
        layer = layers.get(operation.outputs[0])
        if layer is None:
            operations.append(operation)
            continue
        first, second = _factors(tensors.pop(layer.weight), layer, ranks[layer.weight])
        names = (f"{layer.weight}_first", f"{layer.weight}_second")
        tensors |= dict(zip(names, (first, second), strict=True))
        operations += _pair(operation, names)
    return network.rebuilt(operations, tensors, trained=tensors.keys() - network.tensors().keys())


def _is_plain(layer: Layer, weight: Tensor) -> bool:
    operation = layer.operation
    if operation.operator == "Conv":
        return int(operation.attributes.get("group", 1)) == 1
    return operation.operator in ("Gemm", "MatMul") and weight.dim() == 2


def _factors(weight: Tensor, layer: Layer, rank: int) -> tuple[Tensor, Tensor]:
    """Return two weights in the layout of their layer; each takes half of every singular value."""
    matrix = weight.movedim(layer.axis_out, 0).flatten(1)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    rank = min(rank, len(values))
    roots = values[:rank].sqrt()
    outer, inner = left[:, :rank] * roots, roots[:, None] * right[:rank]
    if layer.operation.operator == "Conv":
        return inner.reshape(rank, *weight.shape[1:]), outer.reshape(*outer.shape, *[1] * (weight.dim() - 2))
    if layer.axis_out == 0:
        return inner.contiguous(), outer.contiguous()
    return inner.T.contiguous(), outer.T.contiguous()


def _pair(operation: Operation, names: tuple[str, str]) -> list[Operation]:
    """Return the two operations: the first with the window and no bias, the second with the bias."""
    source, _, *bias = operation.inputs
    middle = f"{operation.outputs[0]}_rank"
    attributes, after = dict(operation.attributes), {}
    if operation.operator == "Gemm":
        after = {key: value for key, value in attributes.items() if key in ("transB", "beta", "alpha")}
        attributes = {key: value for key, value in attributes.items() if key in ("transA", "transB")}
    first = replace(operation, inputs=(source, names[0]), outputs=(middle,), attributes=attributes)
    return [first, replace(operation, inputs=(middle, names[1], *bias), attributes=after)]
