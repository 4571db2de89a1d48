"""AdamW over one flat tensor: one pass over memory a step, however many parameters lie in it."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn

__all__ = ["FlatAdamW"]

MOMENTUM, MEMORY, SMALLEST = 0.9, 0.999, 1e-8  # torch's defaults


@final
class FlatAdamW:
    """What `torch.optim.AdamW` does, without what it checks, sorts and records at every step.

    Args:
        whole: All parameters in one tensor, as `compression.nets.flat.flattened` makes it.
        decayed: How many of its numbers decay, from the first on.
        rate: Of learning; set it before each step.
        weight_decay: Of these numbers.

    Source: Loshchilov and Hutter (2019), arXiv:1711.05101, algorithm 2.
    """

    def __init__(self, whole: nn.Parameter, decayed: int, *, rate: float, weight_decay: float) -> None:
        self.rate, self._weight_decay = rate, weight_decay
        self._whole, self._values, self._decayed = whole, whole.detach(), whole.detach()[:decayed]
        self._mean, self._square = torch.zeros_like(self._values), torch.zeros_like(self._values)
        self._done = torch.zeros((), device=whole.device)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Return what a gradient scaler looks for the gradients in."""
        return [{"params": [self._whole]}]

    @property
    def gradient(self) -> Tensor:
        """Return the gradient of all parameters."""
        assert self._whole.grad is not None
        return self._whole.grad

    def step(self) -> None:
        """Take one step against the gradient."""
        self._done.add_(1)
        self._decayed.mul_(1 - self.rate * self._weight_decay)
        torch._fused_adamw_(  # one pass over memory; in single operations it would be eight
            [self._values], [self.gradient], [self._mean], [self._square], [], [self._done], amsgrad=False,
            lr=self.rate, beta1=MOMENTUM, beta2=MEMORY, weight_decay=0.0, eps=SMALLEST, maximize=False
        )  # fmt: skip
