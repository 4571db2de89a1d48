"""The torch twin of a file that computes with integers: the same codes, bit for bit, up to the last layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from compression.codings import coding_named
from compression.nets.activations import INPUT_STEP, MEAN_STEP, Level, levels_of
from compression.nets.layers import Weights
from compression.nets.plan import (
    Addition,
    Convolution,
    Linear,
    Mean,
    Plan,
    Pooling,
    Quantisation,
    Rescaling,
    Standardisation,
)

__all__ = ["run_integer", "whole_parts"]

CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: functional.conv1d, 2: functional.conv2d}
MAXIMA: dict[int, Callable[..., Tensor]] = {1: functional.max_pool1d, 2: functional.max_pool2d}
MEANS: dict[int, Callable[..., Tensor]] = {1: functional.avg_pool1d, 2: functional.avg_pool2d}


def whole_parts(step: Convolution, written: Weights) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return what integer kernels get for a convolution: weight int8, scales float32, bias int32 (or None).

    The bias lies in the file in shares of `INPUT_STEP` of a code; divided by the scale it is one of the sums.
    """
    assert written.scale is not None
    scale = written.scale.astype(np.float32)
    bias = None if written.bias is None else np.rint(written.bias.astype(np.float32) / scale).astype(np.int32)
    return coding_named(step.coding).whole(written.codes), scale, bias


@torch.no_grad()
def run_integer(plan: Plan, weights: Mapping[str, Weights], x: Tensor) -> Tensor:
    """Run the written weights with integer arithmetic.

    Sums of products are exact in float64; scales, rounding (half to even) and saturation are those of the operators.

    Args:
        plan: Executed with integers.
        weights: As they are written.
        x: What the `Quantisation` reads, float32, shape (n_rows, *shape).

    Returns:
        Logits, or values, float32, shape (n_rows, n_outputs).
    """
    levels = levels_of(plan)
    values: dict[str, Tensor] = {}  # codes, counted from their zeros
    for step in plan.steps:
        level = levels.get(step.name)
        if isinstance(step, Standardisation):
            continue
        if isinstance(step, Quantisation):
            values[step.name] = x if plan.signature.dtype == "uint8" else _coded(x / INPUT_STEP, level)
        elif isinstance(step, Convolution):
            values[step.name] = _convolved(plan, step, weights[step.name], values[step.source], level)
        elif isinstance(step, Pooling):
            values[step.name] = _pooled(plan, step, values[step.source], level)
        elif isinstance(step, Addition):
            values[step.name] = _added(step, values, levels)
        elif isinstance(step, Mean):
            values[step.name] = values[step.source].mean(dim=tuple(range(2, values[step.source].dim())))
        elif isinstance(step, Linear):
            values[step.name] = _last(weights[step.name], step, values[step.source])
        elif isinstance(step, Rescaling):
            values[step.name] = values[step.source] * np.float32(step.spread).item() + np.float32(step.center).item()
    return values[plan.steps[-1].name]


def _convolved(plan: Plan, step: Convolution, written: Weights, codes: Tensor, level: Any) -> Tensor:
    whole, scale, bias = whole_parts(step, written)
    line = (-1, *[1] * plan.dimensions)
    weight, x = torch.from_numpy(whole).double(), codes.double()
    if plan.dimensions:
        groups = step.channels_out if step.is_depthwise else 1
        total = CONVOLUTIONS[plan.dimensions](x, weight, None, step.stride, step.kernel // 2, 1, groups)
    else:
        total = functional.linear(x, weight)
    if bias is not None:
        total = total + torch.from_numpy(bias).double().reshape(line)
    return _coded(total.float() * torch.from_numpy(np.float32(INPUT_STEP) * scale).reshape(line), level)


def _pooled(plan: Plan, step: Pooling, codes: Tensor, level: Any) -> Tensor:
    if step.kind == "max":
        return MAXIMA[plan.dimensions](codes, 3, step.stride, 1)
    means = MEANS[plan.dimensions](codes, 3, step.stride, 1, count_include_pad=False)
    return _coded(means / MEAN_STEP, level)


def _added(step: Addition, values: Mapping[str, Tensor], levels: Mapping[str, Level]) -> Tensor:
    """Add one value after the other, each sum kept within reach, as integer kernels do."""
    total, zero = values[step.sources[0]], levels[step.sources[0]].zero
    for source in step.sources[1:]:
        zero = max(zero, levels[source].zero)
        total = _coded(total + values[source], Level(levels[step.name].group, zero))
    return total


def _last(written: Weights, step: Linear, features: Tensor) -> Tensor:
    coding = coding_named(step.coding)
    weight = torch.from_numpy(np.asarray(written.codes, np.float32))
    weight = weight.half().float() if coding.name == "float16" else weight
    if written.scale is not None:
        weight = (weight - coding.offset) * torch.from_numpy(written.scale.astype(np.float32))
    product = features @ weight
    return product if written.bias is None else product + torch.from_numpy(written.bias.astype(np.float32))


def _coded(values: Tensor, level: Level | None) -> Tensor:
    assert level is not None
    return values.round().clamp(level.low, level.high)
