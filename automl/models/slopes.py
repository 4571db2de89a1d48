"""How the loss of a multi-layer perceptron changes with its parameters.

Written out, since so small a network takes longer to be recorded and differentiated than to be computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["slopes"]


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
