"""Removing channels of any network for good: through residual sums, concatenations and flattened layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, final

import torch
from torch import Tensor

from compression.graphs.operation import Operation
from compression.modules.importing import ImportedNetwork
from compression.modules.tracing import Slot, Trace, is_depthwise, traced
from engine.errors import ArtifactError, did_you_mean

__all__ = ["ChannelGroup", "Importance", "channel_groups", "channel_importance", "prune_channels", "remove_channels"]

Importance = Literal["l1", "gain", "taylor"]


@final
@dataclass(frozen=True)
class ChannelGroup:
    """Channels of one or more layers that add into one another, and so can only go together.

    Args:
        name: Weight of the first layer that writes them.
        layers: Weights of all layers that write them.
        channels: Numbers of those that can be removed, in the order of the first layer.
    """

    name: str
    layers: tuple[str, ...]
    channels: tuple[int, ...]

    @property
    def width(self) -> int:
        """How many channels can be removed, one of which must stay."""
        return len(self.channels)


def channel_groups(network: ImportedNetwork) -> tuple[ChannelGroup, ...]:
    """Return the groups of channels of a network that can be removed, in the order of the graph.

    Example:
        In `y = conv2(relu(conv1(x))) + shortcut(x)` the output channels of `conv2` and `shortcut` are one group, those
        of `conv1` another.
    """
    return _groups(traced(network))


def channel_importance(
    network: ImportedNetwork, *, by: Importance = "l1", gradients: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Score the channels of every group; higher is more important.

    Args:
        network: Trained.
        by: `l1`: mean magnitude of the filters that write a channel; `gain`: magnitude of the scales of
            normalisations behind them, and of the filters where there is none; `taylor`: what the loss would change to
            first order if the filters were zero.
        gradients: Of the loss by name of the weight, for `taylor`; by default what lies in `grad`.

    Returns:
        float32, shape (width,), by name of the group: the mean over its layers, each scaled to a mean of one.

    Raises:
        ArtifactError: If `taylor` is wanted and a weight has no gradient.

    Source: Li et al. (2017), arXiv:1608.08710 (L1); Liu et al. (2017), arXiv:1708.06519 (gain); Molchanov et al.
    (2019), arXiv:1906.10771, eq. 8 without the square (Taylor). Here each is the mean over the layers of a group.
    """
    trace = traced(network)
    return {group.name: _importance(network, trace, group, by, gradients) for group in _groups(trace)}


def prune_channels(
    network: ImportedNetwork,
    keep: float | Mapping[str, float],
    *,
    by: Importance = "l1",
    is_global: bool = False,
    gradients: Mapping[str, Tensor] | None = None,
) -> ImportedNetwork:
    """Return a smaller network with the most important channels; the tensors really shrink.

    Args:
        network: Trained; it is not changed.
        keep: Share of the channels to keep, in (0, 1]: of every group, or by name of the group (others stay whole).
        by: Importance, as for `channel_importance`.
        is_global: Whether the share is of all channels together, so that groups of unimportant channels lose more.
        gradients: For `taylor`.

    Raises:
        ArtifactError: If a group is unknown, or a share is not in (0, 1].

    Example:
        A 100 x 100 linear layer between two others becomes 50 x 50 with `prune_channels(network, 0.5)`.
    """
    groups = {group.name: group for group in channel_groups(network)}
    shares = dict(keep) if isinstance(keep, Mapping) else dict.fromkeys(groups, keep)
    problems = [f"There is no channel group {name}{did_you_mean(name, groups)}" for name in set(shares) - set(groups)]
    problems += [f"keep must lie in (0, 1], got {share} for {n}." for n, share in shares.items() if not 0 < share <= 1]
    if problems:
        raise ArtifactError("\n".join(problems))
    scores = {n: s for n, s in channel_importance(network, by=by, gradients=gradients).items() if n in shares}
    kept: dict[str, Sequence[int]] = {}
    if is_global and scores:
        counts = _global_counts(scores, {name: round(shares[name] * len(s)) for name, s in scores.items()})
    else:
        counts = {name: max(1, round(shares[name] * len(score))) for name, score in scores.items()}
    for name, score in scores.items():
        kept[name] = sorted(score.topk(counts[name]).indices.tolist())
    return remove_channels(network, kept)


def remove_channels(network: ImportedNetwork, kept: Mapping[str, Sequence[int]]) -> ImportedNetwork:
    """Return the network with only some channels of some groups.

    Args:
        network: It is not changed.
        kept: By name of the group, places in `ChannelGroup.channels` of those that stay, at least one.

    Raises:
        ArtifactError: If nothing of a group would stay.
    """
    trace = traced(network)
    gone: set[int] = set()
    for group in _groups(trace):
        if group.name in kept:
            stay = {group.channels[place] for place in kept[group.name]}
            if not stay:
                raise ArtifactError(f"At least one channel of {group.name} must stay.")
            gone |= set(group.channels) - stay
    if not gone:
        return network
    lost = torch.tensor(sorted(gone))
    tensors = network.tensors()
    for tensor, axis, channels in {(s.tensor, s.axis): (s.tensor, s.axis, s.channels) for s in trace.slots}.values():
        places = (~torch.isin(channels, lost)).nonzero().flatten()
        tensors[tensor] = tensors[tensor].index_select(axis, places)
    operations = [_shrunk(operation, network, tensors, trace, lost) for operation in network.operations]
    smaller = network.rebuilt(operations, tensors)
    with torch.no_grad():
        smaller.values(smaller.sample(2))  # says at once which operation no longer fits
    return smaller


def _groups(trace: Trace) -> tuple[ChannelGroup, ...]:
    """Join the channels of layers that share any."""
    members: list[tuple[list[str], dict[int, None]]] = []
    for slot in trace.slots:
        if slot.role != "writes":
            continue
        channels = dict.fromkeys(number for number in slot.channels.tolist() if number not in trace.fixed)
        touching = [entry for entry in members if entry[1].keys() & channels.keys()]
        if touching:
            first = touching[0]
            for other in touching[1:]:
                first[0].extend(other[0])
                first[1].update(other[1])
                members.remove(other)
            first[0].append(slot.tensor)
            first[1].update(channels)
        elif channels:
            members.append(([slot.tensor], channels))
    return tuple(ChannelGroup(layers[0], tuple(layers), tuple(channels)) for layers, channels in members)


def _importance(
    network: ImportedNetwork,
    trace: Trace,
    group: ChannelGroup,
    by: Importance,
    gradients: Mapping[str, Tensor] | None,
) -> Tensor:
    writing = [slot for slot in trace.slots if slot.role == "writes" and slot.tensor in group.layers]
    chosen = set(group.channels)
    if by == "gain":
        gains = [s for s in trace.slots if s.role == "gain" and chosen & set(s.channels.tolist())]
        writing = gains or writing
    places = {number: place for place, number in enumerate(group.channels)}
    total = torch.zeros(len(places))
    for slot in writing:
        weight = network.tensor(slot.tensor).detach()
        lines = weight.movedim(slot.axis, 0).flatten(1) if weight.dim() > 1 else weight[:, None]
        if by == "taylor":
            gradient = _gradient(network, slot, gradients)
            slopes = gradient.movedim(slot.axis, 0).flatten(1) if weight.dim() > 1 else gradient[:, None]
            scores = (lines * slopes).sum(1).abs()
        else:
            scores = lines.abs().mean(1)
        scores = scores / scores.mean().clamp_min(1e-12)
        for number, score in zip(slot.channels.tolist(), scores.tolist(), strict=True):
            if number in places:
                total[places[number]] += score / len(writing)
    return total


def _gradient(network: ImportedNetwork, slot: Slot, gradients: Mapping[str, Tensor] | None) -> Tensor:
    found = network.tensor(slot.tensor).grad if gradients is None else gradients.get(slot.tensor)
    if found is None:
        raise ArtifactError(
            f"The importance taylor needs the gradient of {slot.tensor}: call backward on the loss of some rows before."
        )
    return found.detach()


def _global_counts(scores: Mapping[str, Tensor], wanted: Mapping[str, int]) -> dict[str, int]:
    """Return how many channels each group keeps when all compete, one of each at least."""
    ranked = sorted(((float(score), name) for name, line in scores.items() for score in line), reverse=True)
    best = dict.fromkeys(scores, 1)
    spare = max(0, sum(wanted.values()) - len(best))
    seen: set[str] = set()
    for _, name in ranked:
        if name not in seen:
            seen.add(name)  # the first of each is kept in any case
        elif spare:
            best[name] += 1
            spare -= 1
    return best


def _shrunk(
    operation: Operation, network: ImportedNetwork, tensors: dict[str, Tensor], trace: Trace, lost: Tensor
) -> Operation:
    """Return an operation whose own numbers follow the channels: groups of depthwise layers, sizes of reshapes."""
    if operation.operator in ("Conv", "ConvTranspose") and operation.inputs[1] in network.constants:
        weight = network.tensor(operation.inputs[1])
        if is_depthwise(operation, weight):
            share = weight.shape[0] // int(operation.attributes["group"])
            group = tensors[operation.inputs[1]].shape[0] // share
            return replace(operation, attributes={**operation.attributes, "group": group})
    if operation.operator == "Reshape" and operation.inputs[1] in tensors:
        numbers, target = trace.values[operation.outputs[0]], tensors[operation.inputs[1]].clone()
        for axis, size in enumerate(target.tolist()):
            lines = numbers.movedim(axis, 0).reshape(numbers.shape[axis], -1)
            if size > 0:
                target[axis] = int((~torch.isin(lines, lost).all(1)).sum())
        if not torch.equal(target, tensors[operation.inputs[1]]):
            name = f"{operation.inputs[1]}_{operation.outputs[0]}".replace(".", "_").replace("/", "_").replace(":", "_")
            tensors[name] = target
            return replace(operation, inputs=(operation.inputs[0], name))
    return operation
