"""Magnitude pruning of any torch module: by a share, or by a threshold."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import nn

from compression.modules.forms import Form, axes_of, form_of, shaped
from engine.errors import SettingsError

__all__ = ["sparsify"]


@torch.no_grad()
def sparsify(
    module: nn.Module,
    *,
    share: float | None = None,
    threshold: float | None = None,
    names: Collection[str] | None = None,
) -> dict[str, Form]:
    """Set small weights to zero; they stay zero while the module is trained on.

    With a `share`, `compression.modules.retrain.retrain` raises the zeros of each layer along a cubic schedule; without
    training they are all set at once. What is below a `threshold` is set at once ("weight clipping").

    Args:
        module: Is changed: its weights become parametrized.
        share: Of the weights of each layer to set to zero, in [0, 1).
        threshold: Magnitude below which weights are set to zero.
        names: Of the weights; by default those of all convolutions and linear layers.

    Returns:
        Forms by name of the weight, with their masks.

    Raises:
        SettingsError: Unless exactly one of share and threshold is given, and is in its range.

    Example:
        >>> layer = nn.Linear(3, 1, bias=False)
        >>> _ = layer.weight.data.copy_(torch.tensor([[0.5, -0.01, 2.0]]))
        >>> _ = sparsify(layer, threshold=0.1)
        >>> layer.weight.tolist()
        [[0.5, -0.0, 2.0]]

    Source: Han et al. (2015), arXiv:1506.02626 (threshold); Zhu and Gupta (2017), arXiv:1710.01878 (cubic schedule).
    """
    if (share is None) == (threshold is None):
        raise SettingsError("Give either share or threshold.")
    if share is not None and not 0 <= share < 1:
        raise SettingsError(f"share must lie in [0, 1), got {share}.")
    if threshold is not None and threshold < 0:
        raise SettingsError(f"threshold must be at least 0, got {threshold}.")
    chosen = list(axes_of(module) if names is None else names)
    densities = dict.fromkeys(chosen, 1.0 - (share or 0.0))
    forms = shaped(module, dict.fromkeys(chosen, "float32"), densities=densities)
    for name, form in forms.items():
        found = form_of(module, name)
        assert found is not None
        if threshold is not None:
            form.mask.copy_(found[1].abs() >= threshold)
        else:
            form.thin(found[1], 1.0)
    return forms
