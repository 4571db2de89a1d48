"""Quantization-aware training of any torch module, on exactly the grid that is written."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from compression.codings import PALETTES
from compression.modules.forms import Form, axes_of, shaped
from engine.errors import SettingsError

__all__ = ["quantize_aware"]


def quantize_aware(module: nn.Module, codings: str | Mapping[str, str]) -> dict[str, Form]:
    """Let a module be trained with weights rounded as the file will hold them.

    The forward pass sees (code - offset) x float16 scale of each output channel; gradients pass straight through the
    rounding to the float weight. Train the module afterwards with any loop, or with
    `compression.modules.retrain.retrain`.

    Args:
        module: Is changed: its weights become parametrized.
        codings: `int8`, `int4`, `int2`, `ternary`, `float16`, ... for all convolutions and linear layers, or by name of
            the weight.

    Returns:
        Forms by name of the weight.

    Raises:
        SettingsError: For a palette, which `compression.modules.cluster.cluster` makes.

    Example:
        >>> import torch
        >>> layer = nn.Linear(4, 1, bias=False)
        >>> _ = layer.weight.data.copy_(torch.tensor([[1.0, -0.9, 0.1, 0.0]]))
        >>> _ = quantize_aware(layer, "ternary")
        >>> [round(weight, 2) for weight in layer.weight.flatten().tolist()]
        [0.95, -0.95, 0.0, 0.0]

    Source: Bengio et al. (2013), arXiv:1308.3432 (straight through); Li et al. (2016), arXiv:1605.04711 (ternary);
    Jacob et al. (2018), arXiv:1712.05877 (integers); here weights only, and scales rounded to float16.
    """
    chosen = dict.fromkeys(axes_of(module), codings) if isinstance(codings, str) else dict(codings)
    palettes = sorted(set(chosen.values()) & set(PALETTES))
    if palettes:
        raise SettingsError(f"{', '.join(palettes)} needs a codebook: use compression.modules.cluster.cluster.")
    return shaped(module, chosen)
