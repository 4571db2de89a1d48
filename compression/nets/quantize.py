"""Quantization-aware weights: the codes of a weight, and the scales of its channels."""

from __future__ import annotations

from torch import Tensor

from compression.codings import Coding

__all__ = ["codes_and_scale"]

# Step of the best uniform four-level quantizer of a normal variable (0.9957 sigma) over its mean magnitude (0.7979).
INT2_STEP = 1.248
TERNARY_THRESHOLD = 0.7
SMALLEST_SCALE = 1e-8


def codes_and_scale(
    weight: Tensor, coding: Coding, *, channel_axis: int = 0, counts: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the codes of a weight and the scale of each output channel.

    Integers of four and eight bits span the largest magnitude of a channel. Two bits and ternary follow the
    distribution instead, since the largest of many weights says little about the rest.

    Args:
        weight: float32, any shape.
        coding: An integer coding.
        channel_axis: Axis of the output channels.
        counts: How many weights each channel has, with ones around it, where the others are zeros that fill it up.

    Returns:
        Codes as floats with the shape of the weight, and scales, float32, shape (channels_out,) with ones around it
        for broadcasting.

    Source: ternary thresholds and scales follow Li et al. (2016), arXiv:1605.04711, eq. 6 and 3; per channel here.
    """
    axes = [axis for axis in range(weight.dim()) if axis != channel_axis]
    magnitude = weight.abs()
    if coding.name == "ternary":
        above = (magnitude > _mean(magnitude, axes, counts).mul_(TERNARY_THRESHOLD)).to(weight.dtype)
        scale = (magnitude * above).sum(axes, keepdim=True).div_(above.sum(axes, keepdim=True).clamp_min_(1))
        return above.copysign_(weight).add_(coding.offset), scale.clamp_min_(SMALLEST_SCALE)
    if coding.name == "int2":
        scale = _mean(magnitude, axes, counts).mul_(INT2_STEP)
    else:
        scale = magnitude.amax(axes, keepdim=True) / coding.reach
    scale = scale.clamp_min_(SMALLEST_SCALE)
    codes = weight / scale
    if coding.offset:
        codes.add_(coding.offset)
    return codes.round_().clamp_(coding.low, coding.high), scale


def _mean(magnitude: Tensor, axes: list[int], counts: Tensor | None) -> Tensor:
    if counts is None:
        return magnitude.mean(axes, keepdim=True)
    return magnitude.sum(axes, keepdim=True).div_(counts)
