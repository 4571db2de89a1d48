"""Setting small weights to zero, more and more of them, while training goes on."""

from __future__ import annotations

import torch
from torch import Tensor

from compression.codings import Coding

__all__ = ["magnitude_mask", "zeros_at"]

START, END = 0.25, 0.7  # shares of the training between which the sparsity rises


def magnitude_mask(weight: Tensor, zeros: int) -> Tensor:
    """Return which weights stay when the smallest are set to zero.

    Args:
        weight: Any shape.
        zeros: How many.

    Returns:
        float32 zeros and ones, with the shape of the weight; exactly `zeros` zeros, also among ties.

    Example:
        >>> magnitude_mask(torch.tensor([3.0, -1.0, 2.0, 0.5]), 2)
        tensor([1., 0., 1., 0.])
    """
    mask = torch.ones(weight.numel(), device=weight.device)
    mask[weight.detach().abs().flatten().argsort(stable=True)[:zeros]] = 0.0
    return mask.reshape(weight.shape)


def zeros_at(progress: float, coding: Coding, count: int) -> int:
    """Return how many of a layer's weights are zero after a share of the training: none, a cubic rise, then all due.

    Args:
        progress: Share of the training done, in [0, 1].
        coding: With the density to reach.
        count: Weights of the layer.

    Source: Zhu and Gupta (2017), arXiv:1710.01878, eq. 1.
    """
    share = min(1.0, max(0.0, (progress - START) / (END - START)))
    return round((count - coding.kept(count)) * (1.0 - (1.0 - share) ** 3))
