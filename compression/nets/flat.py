"""One tensor for many parameters: what an optimiser does to each of them it does once."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

__all__ = ["flattened"]

ALIGNMENT = 16  # numbers: each parameter begins on a line of the cache


@torch.no_grad()
def flattened(parameters: Iterable[nn.Parameter]) -> tuple[nn.Parameter, list[int]]:
    """Move parameters into one tensor and their gradients, zeros, into another; they are views of these from now on.

    Zero `grad` of the result instead of theirs: autograd adds to what they see.

    Args:
        parameters: Dense in memory, in any order of their axes, which they keep; on one device.

    Returns:
        The tensor, and where each parameter begins in it, with its length at the end.

    Example:
        >>> first, second = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(1))
        >>> whole, starts = flattened([first, second])
        >>> starts
        [0, 16, 32]
        >>> (first.sum() + 3 * second.sum()).backward()
        >>> whole.grad.sum()
        tensor(5.)
    """
    parts = list(parameters)
    starts = [0]
    for part in parts:
        starts.append(starts[-1] + -(-part.numel() // ALIGNMENT) * ALIGNMENT)
    whole = nn.Parameter(parts[0].new_zeros(starts[-1]))
    whole.grad = torch.zeros_like(whole)
    for part, start in zip(parts, starts, strict=False):
        place = (part.shape, part.stride(), start)
        held = whole.detach().as_strided(*place)
        held.copy_(part)
        part.data = held
        part.grad = whole.grad.as_strided(*place)
    return whole, starts
