"""Removing channels for good."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from compression.nets.network import Network, Unit
from compression.nets.plan import Convolution, Linear

__all__ = ["channel_importance", "keep_channels"]


@torch.no_grad()
def channel_importance(network: Network, group: str) -> Tensor:
    """Score the channels of a group; higher is more important.

    The score of a channel is the sum, over the layers that write it, of the L1 norm of its filter times the gain of its
    normalisation, each layer scaled to a mean of one.

    Args:
        network: Trained a little.
        group: Of channels, as the plan names it.

    Returns:
        float32, shape (n_channels,).

    Source: Li et al. (2017), arXiv:1608.08710, section 3.1 (L1 norm); Liu et al. (2017), arXiv:1708.06519 (the gain);
    here both at once, summed over all layers that add into the same channels.
    """
    total: Tensor | None = None
    for step in network.plan.weighted:
        if isinstance(step, Convolution) and step.group_out == group and not step.is_depthwise:
            unit = network.units[step.name]
            score = unit.weight.abs().flatten(1).mean(1)
            if unit.normalisation is not None:
                score = score * unit.normalisation.weight.abs()
            score = score / score.mean().clamp_min(1e-12)
            total = score if total is None else total + score
    if total is None:
        raise ValueError(f"No layer writes the channel group {group}.")
    return total


@torch.no_grad()
def keep_channels(network: Network, counts: Mapping[str, int]) -> Network:
    """Return a smaller network with the most important channels of each group; the tensors really shrink.

    Args:
        network: Trained a little; it is not changed.
        counts: Channels to keep, by group; groups that are not named stay whole.

    Example:
        A 16 -> 16 convolution whose group keeps 8 channels becomes 8 -> 8: a quarter of its weights.
    """
    kept: dict[str, Tensor] = {}
    for group, count in counts.items():
        importance = channel_importance(network, group)
        if count < len(importance):
            kept[group] = importance.topk(count).indices.sort().values
    smaller = Network(network.plan.with_channels({group: len(index) for group, index in kept.items()}))
    for old, new in zip(network.plan.weighted, smaller.plan.weighted, strict=True):
        _copy(network.units[old.name], smaller.units[new.name], old, kept)
    smaller.train(network.training)
    return smaller


def _copy(old: Unit, new: Unit, step: Convolution | Linear, kept: Mapping[str, Tensor]) -> None:
    new.is_quantized = old.is_quantized
    rows = kept.get(step.group_in)
    if isinstance(step, Linear):
        new.weight.copy_(old.weight if rows is None else old.weight[rows])
        if old.bias is not None and new.bias is not None:
            new.bias.copy_(old.bias)
        return
    weight, columns = old.weight.detach(), kept.get(step.group_out)
    if columns is not None:
        weight = weight[columns]
    if rows is not None and not step.is_depthwise:
        weight = weight[:, rows]
    new.weight.copy_(weight)
    if old.normalisation is not None and new.normalisation is not None:
        targets = new.normalisation.state_dict()
        for name, value in old.normalisation.state_dict().items():
            targets[name].copy_(value if columns is None or value.dim() == 0 else value[columns])
