"""Giving a network back the normalisations that an exporter folded into its layers: it trains better with them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from compression.graphs.operation import Layer, Operation
from compression.modules.importing import ImportedNetwork

__all__ = ["renormalized"]

EPSILON = 1e-5
LAYERS = ("Conv", "ConvTranspose", "Gemm")


@torch.no_grad()
def renormalized(network: ImportedNetwork, x: Tensor) -> ImportedNetwork:
    """Return the network with a normalisation after every layer that can take one in again, doing the same.

    Its statistics are those of the given rows, its scale and shift undo them: outputs do not change until it is
    trained. `compression.modules.writing.write_network` folds it away again, so the file does not grow.

    Args:
        network: In evaluation mode; it is not changed.
        x: Some hundred rows of the data.

    Source: Ioffe and Szegedy (2015), arXiv:1502.03167; setting scale and shift to the measured deviation and mean
    inverts it at the start.
    """
    values = network.values(x.float())
    normed = {layer.operation.outputs[0]: layer for layer in network.layers if _is_free(network, layer)}
    tensors, operations = network.tensors(), []
    trained: set[str] = set()
    renamed: dict[str, str] = {}
    for operation in network.operations:
        inputs = tuple(renamed.get(name, name) for name in operation.inputs)
        operations.append(replace(operation, inputs=inputs))
        layer = normed.get(operation.outputs[0])
        if layer is None:
            continue
        out = values[operation.outputs[0]].transpose(0, 1).flatten(1)
        mean, variance = out.mean(1), out.var(1, unbiased=False)
        names = [f"{layer.weight}_{part}" for part in ("gain", "shift", "mean", "variance")]
        tensors |= dict(zip(names, (torch.sqrt(variance + EPSILON), mean, mean, variance), strict=True))
        trained |= set(names[:2])
        renamed[operation.outputs[0]] = f"{operation.outputs[0]}_normalized"
        operations.append(
            Operation(
                "BatchNormalization",
                (operation.outputs[0], *names),
                (renamed[operation.outputs[0]],),
                {"epsilon": EPSILON},
            )
        )
    return network.rebuilt(operations, tensors, trained=trained)


def _is_free(network: ImportedNetwork, layer: Layer) -> bool:
    """Say whether a layer has no normalisation yet, is no output, and is alone with its weight."""
    operation, name = layer.operation, layer.operation.outputs[0]
    users = [other for other in network.operations if name in other.inputs]
    is_last = name in {port.name for port in network.outputs} or any(
        user.operator in ("Softmax", "LogSoftmax", "BatchNormalization") for user in users
    )
    is_grouped = operation.operator == "ConvTranspose" and operation.attributes.get("group", 1) != 1
    is_scaled = any(operation.attributes.get(key, 1.0) != 1.0 for key in ("alpha", "beta"))
    is_alone = sum(other.weight == layer.weight for other in network.layers) == 1
    return operation.operator in LAYERS and bool(users) and is_alone and not (is_last or is_grouped or is_scaled)
