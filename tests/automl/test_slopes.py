"""Gradients of perceptrons against those of torch."""

from itertools import pairwise

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax

from automl.models.slopes import slopes

WIDTHS = (5, 7, 6)


def network(outputs):
    generator = torch.Generator().manual_seed(0)
    sizes = (*WIDTHS, outputs)
    made = []
    for inputs, width in pairwise(sizes):
        made += [torch.randn(inputs, width, generator=generator), torch.randn(width, generator=generator)]
    return made


def loss_of(scores, goal, link):
    if link == "softmax":
        return -(goal * log_softmax(scores, dim=1)).sum(dim=1)
    if link == "sigmoid":
        return binary_cross_entropy_with_logits(scores, goal, reduction="none").sum(dim=1)
    return ((scores - goal) ** 2).sum(dim=1)


@pytest.mark.parametrize(("link", "outputs"), [("softmax", 3), ("sigmoid", 1), ("identity", 2)])
def test_slopes_are_those_of_automatic_differentiation(link, outputs):
    generator = torch.Generator().manual_seed(1)
    x, weight = torch.randn(40, 5, generator=generator), torch.rand(40, generator=generator)
    goal = torch.rand(40, outputs, generator=generator)
    found = slopes(x, network(outputs), goal, weight, link)
    leaves = [entry.requires_grad_() for entry in network(outputs)]
    hidden = torch.relu(x @ leaves[0] + leaves[1])
    hidden = torch.relu(hidden @ leaves[2] + leaves[3])
    (weight * loss_of(hidden @ leaves[4] + leaves[5], goal, link)).sum().backward()
    for own, leaf in zip(found, leaves, strict=True):
        assert torch.allclose(own, leaf.grad, rtol=1e-4, atol=1e-5)
