"""How the loss of a multi-layer perceptron changes with its parameters, and the steps that follow from it.

Written out, since so small a network takes longer to be recorded and differentiated than to be computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Adam", "slopes"]

FORGET, FORGET_SQUARES, TINY = 0.9, 0.98, 1e-8


def slopes(x: Tensor, parameters: Sequence[Tensor], goal: Tensor, weight: Tensor, link: str) -> list[Tensor]:
    """Return the gradient of the weighted sum of losses for each parameter.

    Args:
        x: Features, float32, shape (n_rows, n_features).
        parameters: Weight, shape (n_in, n_out), and bias, shape (n_out,), of each layer; ReLU between layers.
        goal: Probabilities, of two classes that of the second alone, or values, shape (n_rows, n_outputs).
        weight: Of the rows, shape (n_rows,).
        link: `softmax` or `sigmoid` for cross-entropy, `identity` for squared errors.
    """
    import torch

    weights, biases = parameters[::2], parameters[1::2]
    inputs, last = [x], len(weights) - 1
    for place, (matrix, bias) in enumerate(zip(weights, biases, strict=True)):
        following = torch.addmm(bias, inputs[-1], matrix)
        inputs.append(following if place == last else following.relu_())
    scores = inputs.pop()
    if link == "softmax":
        away = scores.softmax(dim=1) * goal.sum(dim=1, keepdim=True) - goal
    else:
        away = scores.sigmoid() - goal if link == "sigmoid" else 2 * (scores - goal)
    away *= weight[:, None]
    found: list[Tensor] = []
    for place in range(last, -1, -1):
        found += [away.sum(dim=0), inputs[place].T @ away]
        if place:
            away = (away @ weights[place].T).mul_(inputs[place] > 0)
    return found[::-1]


@final
class Adam:
    """AdamW on a list of parameters, which it changes in place; weights decay, biases do not.

    Source: Loshchilov and Hutter (2019), Decoupled weight decay regularization, arXiv:1711.05101, algorithm 2.

    Args:
        parameters: Weight and bias of each layer in turn.
        decay: Share of a weight, times the rate, that each step takes.
    """

    def __init__(self, parameters: list[Tensor], *, decay: float) -> None:
        import torch

        self._parameters, self._weights, self._decay = parameters, parameters[::2], decay
        self._means = [torch.zeros_like(entry) for entry in parameters]
        self._squares = [torch.zeros_like(entry) for entry in parameters]
        self._steps = 0

    def step(self, gradients: list[Tensor], rate: float) -> None:
        """Take one step at this rate."""
        import torch

        self._steps += 1
        torch._foreach_mul_(self._weights, 1 - rate * self._decay)
        torch._foreach_lerp_(self._means, gradients, 1 - FORGET)
        torch._foreach_mul_(self._squares, FORGET_SQUARES)
        torch._foreach_addcmul_(self._squares, gradients, gradients, 1 - FORGET_SQUARES)
        spread = torch._foreach_sqrt(self._squares)
        torch._foreach_div_(spread, math.sqrt(1 - FORGET_SQUARES**self._steps))
        torch._foreach_add_(spread, TINY)
        torch._foreach_addcdiv_(self._parameters, self._means, spread, -rate / (1 - FORGET**self._steps))
