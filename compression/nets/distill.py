"""Learning from labels, or values, and from a teacher: targets, the loss, and its gradient in closed form."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

__all__ = ["loss_gradient", "loss_of", "targets_of"]


def targets_of(labels: Tensor, outputs: int, *, soft: Tensor | None, smoothing: float, share: float) -> Tensor:
    """Return what to learn, float32, shape (n_rows, outputs): smoothed labels or values, mixed with a teacher's.

    Args:
        labels: Class indices, int64, shape (n_rows,), which become probabilities; or values, float32.
        outputs: Number of classes; 1 for values.
        soft: The teacher's probabilities or values, float32, shape (n_rows, outputs), or None.
        smoothing: Label smoothing, in [0, 1).
        share: Of the teacher's part, in [0, 1].

    Source: Hinton et al. (2015), arXiv:1503.02531, at temperature 1: what a finished file gives is probabilities.
    """
    if labels.is_floating_point():
        targets = labels[:, None].clone()
    else:
        others = smoothing / outputs
        targets = torch.full((labels.shape[0], outputs), others, device=labels.device)
        targets.scatter_(1, labels[:, None], 1 - smoothing + others)
    return targets if soft is None else targets.lerp_(soft, share)


def loss_of(answers: Tensor, targets: Tensor, weight: Tensor | None, spread: float | None) -> Tensor:
    """Return the mean loss of a batch: cross-entropy, or the squared difference in units of the spread.

    Args:
        answers: Logits or values, float32, shape (n_rows, n_outputs).
        targets: From `targets_of`.
        weight: Of each row, float32, shape (n_rows,), or None.
        spread: Of values; None for classes.
    """
    if spread is None:
        loss = functional.cross_entropy(answers, targets, reduction="none")
    else:
        loss = ((answers - targets) / spread).square().sum(1)
    return loss.mean() if weight is None else (loss * weight).sum() / weight.sum().clamp_min(1e-12)


@torch.no_grad()
def loss_gradient(answers: Tensor, targets: Tensor, weight: Tensor | None, spread: float | None) -> Tensor:
    """Return the gradient of `loss_of` with respect to the answers: autograd need not find it step by step.

    Example:
        >>> loss_gradient(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), None, None)
        tensor([[-0.5000,  0.5000]])
    """
    if spread is None:
        difference = torch.softmax(answers, 1).sub_(targets)
    else:
        difference = (answers - targets).mul_(2 / spread**2)
    if weight is None:
        return difference.div_(answers.shape[0])
    return difference.mul_((weight / weight.sum().clamp_min(1e-12))[:, None])
