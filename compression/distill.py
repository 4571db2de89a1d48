"""Learning from labels and from a teacher's probabilities."""

from __future__ import annotations

import torch.nn.functional as functional
from torch import Tensor

__all__ = ["distillation_loss"]


def distillation_loss(
    logits: Tensor, labels: Tensor, *, soft: Tensor | None, weight: Tensor | None, smoothing: float, share: float
) -> Tensor:
    """Return the mean loss of a batch: cross-entropy, and the divergence from a teacher where there is one.

    Args:
        logits: float32, shape (n_rows, n_classes).
        labels: int64, shape (n_rows,).
        soft: The teacher's probabilities, float32, shape (n_rows, n_classes), or None.
        weight: Of each row, float32, shape (n_rows,), or None.
        smoothing: Label smoothing, in [0, 1).
        share: Of the teacher's part, in [0, 1].

    Source: Hinton et al. (2015), arXiv:1503.02531, at temperature 1: what a finished file gives is probabilities.
    """
    hard = functional.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
    loss = hard
    if soft is not None:
        logarithms = functional.log_softmax(logits, 1)
        loss = (1 - share) * hard - share * (soft * logarithms).sum(1)
    return loss.mean() if weight is None else (loss * weight).sum() / weight.sum().clamp_min(1e-12)
