"""Operators that slide a window over positions, as ONNX defines their pads, in torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor

__all__ = ["Attributes", "convolution", "max_pool", "mean_pool", "text", "transposed_convolution"]

Attributes = Mapping[str, Any]
CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
MAX_POOLS = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
MEAN_POOLS = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


def text(a: Attributes, name: str, default: str) -> str:
    """Return an attribute that is a word."""
    value = a.get(name, default)
    return value.decode() if isinstance(value, bytes) else str(value)


def _window(x: Tensor, kernel: Sequence[int], a: Attributes) -> tuple[list[int], list[int], list[int]]:
    """Return strides, dilations, and pads as all begins and then all ends, from explicit pads or `auto_pad`."""
    axes = len(kernel)
    strides, dilations = list(a.get("strides", [1] * axes)), list(a.get("dilations", [1] * axes))
    auto = text(a, "auto_pad", "NOTSET")
    if auto == "NOTSET":
        return strides, dilations, list(a.get("pads", [0] * (2 * axes)))
    if auto == "VALID":
        return strides, dilations, [0] * (2 * axes)
    sizes = x.shape[2:]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    total = [max(0, (math.ceil(n / s) - 1) * s + r - n) for n, s, r in zip(sizes, strides, reach, strict=True)]
    small, large = [t // 2 for t in total], [t - t // 2 for t in total]
    return strides, dilations, small + large if auto == "SAME_UPPER" else large + small


def _symmetric(pads: Sequence[int]) -> list[int] | None:
    begins, ends = list(pads[: len(pads) // 2]), list(pads[len(pads) // 2 :])
    return begins if begins == ends else None


def _padded(x: Tensor, pads: Sequence[int], value: float = 0.0) -> Tensor:
    axes = len(pads) // 2
    order = [pads[axis + side * axes] for axis in reversed(range(axes)) for side in (0, 1)]
    return functional.pad(x, order, value=value)


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None, a: Attributes) -> Tensor:
    """Convolve, with any pads, dilations and groups, over one to three axes."""
    strides, dilations, pads = _window(x, weight.shape[2:], a)
    padding = _symmetric(pads)
    if padding is None:
        x, padding = _padded(x, pads), [0] * len(strides)
    return CONVOLUTIONS[len(strides)](x, weight, bias, strides, padding, dilations, a.get("group", 1))


def transposed_convolution(x: Tensor, weight: Tensor, bias: Tensor | None, a: Attributes) -> Tensor:
    """Convolve backwards: the whole result, cut by the pads."""
    axes = x.dim() - 2
    strides, dilations = list(a.get("strides", [1] * axes)), list(a.get("dilations", [1] * axes))
    extra = list(a.get("output_padding", [0] * axes))
    pads = list(a.get("pads", [0] * (2 * axes)))
    auto = text(a, "auto_pad", "NOTSET")
    sizes = a.get("output_shape")
    if sizes is None and auto.startswith("SAME"):
        sizes = [n * s for n, s in zip(x.shape[2:], strides, strict=True)]
    if sizes is not None:
        total = [
            s * (n - 1) + e + (k - 1) * d + 1 - size
            for s, n, e, k, d, size in zip(
                strides, x.shape[2:], extra, weight.shape[2:], dilations, sizes[-axes:], strict=True
            )
        ]
        small, large = [max(0, t) // 2 for t in total], [max(0, t) - max(0, t) // 2 for t in total]
        pads = small + large if auto == "SAME_UPPER" else large + small
    out = TRANSPOSED[axes](x, weight, bias, strides, 0, extra, a.get("group", 1), dilations)
    for axis in range(axes):
        length = out.shape[2 + axis] - pads[axis] - pads[axes + axis]
        out = out.narrow(2 + axis, pads[axis], length)
    return out


def max_pool(x: Tensor, a: Attributes) -> Tensor:
    """Return the largest value of each window."""
    kernel = list(a["kernel_shape"])
    strides, dilations, pads = _window(x, kernel, a)
    padding = _symmetric(pads)
    if padding is None or any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        x, padding = _padded(x, pads, -math.inf), [0] * len(kernel)
    return MAX_POOLS[len(kernel)](x, kernel, strides, padding, dilations, bool(a.get("ceil_mode", 0)))


def mean_pool(x: Tensor, a: Attributes) -> Tensor:
    """Return the mean of each window, with or without its padding.

    Raises:
        ValueError: For dilated windows.
    """
    kernel = list(a["kernel_shape"])
    strides, dilations, pads = _window(x, kernel, a)
    if any(dilation != 1 for dilation in dilations):
        raise ValueError("dilations of AveragePool are not known here")
    pool, ceil = MEAN_POOLS[len(kernel)], bool(a.get("ceil_mode", 0))
    counts_padding = bool(a.get("count_include_pad", 0))
    padding = _symmetric(pads)
    if padding is not None and all(2 * p <= k for p, k in zip(padding, kernel, strict=True)):
        return pool(x, kernel, strides, padding, ceil, counts_padding)
    means = pool(_padded(x, pads), kernel, strides, 0, ceil)
    if counts_padding:
        return means
    return means / pool(_padded(torch.ones_like(x), pads), kernel, strides, 0, ceil)
