"""One tensor for several layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch

from compression.modules.importing import ImportedNetwork
from engine.errors import ArtifactError, did_you_mean

__all__ = ["alike", "shared"]


def alike(network: ImportedNetwork) -> tuple[tuple[str, ...], ...]:
    """Return the weights of layers that could share one: same operator, attributes and shape; groups of two or more."""
    groups: dict[object, list[str]] = {}
    for layer in network.layers:
        key = (layer.operation.operator, repr(sorted(layer.operation.attributes.items())), layer.axis_out)
        names = groups.setdefault((key, tuple(network.tensor(layer.weight).shape)), [])
        if layer.weight not in names:
            names.append(layer.weight)
    return tuple(tuple(names) for names in groups.values() if len(names) > 1)


@torch.no_grad()
def shared(network: ImportedNetwork, groups: Iterable[Sequence[str]]) -> ImportedNetwork:
    """Return the network with one weight for each group of layers, which keep biases of their own.

    The shared weight is that of the first layer when the network is to be trained further anyway: means of trained
    weights cancel out. The file holds it once; each further use costs about ten bytes.

    Args:
        network: It is not changed. Retrain the result: all uses move the one weight.
        groups: Names of weights, as `alike` returns them.

    Raises:
        ArtifactError: With every unknown weight, and every group whose shapes differ.

    Example:
        `shared(network, alike(network))`

    Source: Lan et al. (2020), arXiv:1909.11942, section 3.1 (cross-layer sharing); for convolutions Savarese and Maire
    (2019), arXiv:1902.09701, here without their linear combinations.
    """
    groups = [tuple(group) for group in groups]
    known = [layer.weight for layer in network.layers]
    problems = [
        f"There is no weight {name}{did_you_mean(name, known)}"
        for group in groups
        for name in group
        if name not in known
    ]
    if not problems:
        shapes = [{tuple(network.tensor(name).shape) for name in group} for group in groups]
        problems = [f"Weights that share must have one shape, got {found}." for found in shapes if len(found) > 1]
    if problems:
        raise ArtifactError("\n".join(problems))
    names = {name: group[0] for group in groups for name in group}
    operations = [
        replace(operation, inputs=tuple(names.get(name, name) for name in operation.inputs))
        for operation in network.operations
    ]
    kept = {name: tensor for name, tensor in network.tensors().items() if names.get(name, name) == name}
    return network.rebuilt(operations, kept)
