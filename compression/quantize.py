"""Quantization-aware weights: codes, scales, and gradients that pass straight through the rounding."""

from __future__ import annotations

import torch
from torch import Tensor

from compression.codings import Coding

__all__ = ["codes_and_scale", "fake_quantize"]

# Step of the best uniform four-level quantizer of a normal variable (0.9957 sigma) over its mean magnitude (0.7979).
INT2_STEP = 1.248
TERNARY_THRESHOLD = 0.7
SMALLEST_SCALE = 1e-8


def codes_and_scale(weight: Tensor, coding: Coding, *, channel_axis: int = 0) -> tuple[Tensor, Tensor]:
    """Return the codes of a weight and the scale of each output channel.

    Integers of four and eight bits span the largest magnitude of a channel. Two bits and ternary follow the
    distribution instead, since the largest of many weights says little about the rest.

    Args:
        weight: float32, any shape.
        coding: An integer coding.
        channel_axis: Axis of the output channels.

    Returns:
        Codes as floats with the shape of the weight, and scales, float32, shape (channels_out,) with ones around it
        for broadcasting.

    Source: ternary thresholds and scales follow Li et al. (2016), arXiv:1605.04711, eq. 6 and 3; per channel here.
    """
    axes = [axis for axis in range(weight.dim()) if axis != channel_axis]
    magnitude = weight.abs()
    if coding.name == "ternary":
        above = magnitude > TERNARY_THRESHOLD * magnitude.mean(axes, keepdim=True)
        scale = (magnitude * above).sum(axes, keepdim=True) / above.sum(axes, keepdim=True).clamp_min(1)
        codes = weight.sign() * above + coding.offset
        return codes, scale.clamp_min(SMALLEST_SCALE)
    if coding.name == "int2":
        scale = INT2_STEP * magnitude.mean(axes, keepdim=True)
    else:
        scale = magnitude.amax(axes, keepdim=True) / coding.reach
    scale = scale.clamp_min(SMALLEST_SCALE)
    return (weight / scale + coding.offset).round().clamp(coding.low, coding.high), scale


def fake_quantize(weight: Tensor, coding: Coding, *, channel_axis: int = 0) -> Tensor:
    """Return the weight as the file will hold it; gradients pass as if nothing had been rounded.

    Args:
        weight: float32, any shape.
        coding: Any coding; float codings return the weight itself.
        channel_axis: Axis of the output channels.

    Example:
        >>> from compression.codings import coding_named
        >>> fake_quantize(torch.tensor([[1.0, -0.9, 0.1, 0.0]]), coding_named("ternary"))
        tensor([[ 0.9500, -0.9500,  0.0000,  0.0000]])
    """
    if not coding.is_integer:
        return weight
    with torch.no_grad():
        codes, scale = codes_and_scale(weight, coding, channel_axis=channel_axis)
        rounding = (codes - coding.offset) * scale - weight
    return weight + rounding
