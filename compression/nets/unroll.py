"""Convolutions over small maps as one matrix: a product takes a fraction of the time of a library's convolution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import final

import torch
import torch.nn.functional as functional
from torch import Tensor

from compression.nets.plan import Convolution

__all__ = ["Unrolled", "averaged", "convolved_input", "is_unrolled"]

LARGEST = 2**17  # numbers in a matrix: beyond, its zeros take more time than a library's convolution loses
LARGEST_COLUMNS = 2**21  # numbers in all windows of the input: 8 MB


def is_unrolled(step: Convolution, sides: Sequence[int]) -> bool:
    """Say whether a convolution is better unrolled: on small maps, unless it is a product of matrices as it is.

    Args:
        step: The convolution.
        sides: Of its input.
    """
    if len(sides) != 2 or step.kernel == step.stride == 1:
        return False
    outputs = math.prod(-(-side // step.stride) for side in sides)
    return math.prod(sides) * step.channels_in * outputs * step.channels_out <= LARGEST


@final
class Unrolled:
    """A convolution as the matrix that maps all inputs of a row to all of its outputs; most of it may be zeros.

    Rows and columns of the matrix are positions, and at each position channels: what torch calls channels last.

    Args:
        step: The convolution.
        sides: Of its input, (height, width).

    Attributes:
        filters: Where they are written, float32, shape (channels_out, channels_in or 1, kernel, kernel).
        matrix: Made of them by `refresh`, shape (outputs of a row, inputs of a row); a leaf for autograd.
    """

    def __init__(self, step: Convolution, sides: Sequence[int]) -> None:
        self._channels, inputs, self._kernel = step.weight_shape
        self._is_depthwise = step.is_depthwise
        self._down, self._across = (-(-side // step.stride) for side in sides)
        self._taps, self._meetings = _meetings(self._kernel, step.stride, sides[0], sides[1])
        self._padded = torch.zeros(self._channels, self._kernel**2 + 1, inputs)  # the last tap is none
        self.filters = self._padded[:, :-1].view(-1, self._kernel, self._kernel, inputs).permute(0, 3, 1, 2)
        places = (self._down * self._across, self._channels, math.prod(sides), step.channels_in)
        matrix = torch.zeros(places)
        self.matrix = matrix.view(places[0] * places[1], -1).requires_grad_()
        self._places = places
        self._met = torch.empty(self._channels, places[0] * places[2], inputs)
        met = self._met.view(self._channels, places[0], places[2], inputs)
        if self._is_depthwise:
            self._into, self._from = matrix.diagonal(0, 1, 3), met[..., 0].permute(1, 2, 0)
        else:
            self._into, self._from = matrix, met.transpose(0, 1)

    def refresh(self) -> None:
        """Write the filters into the matrix; call it without gradients."""
        torch.index_select(self._padded, 1, self._taps, out=self._met)
        self._into.copy_(self._from)

    def gradient(self) -> Tensor:
        """Return the gradient of the filters, with their shape, from that of the matrix, which is forgotten."""
        assert self.matrix.grad is not None
        places, self.matrix.grad = self.matrix.grad.view(self._places), None
        kernel, pairs = self._kernel, self._places[0] * self._places[2]
        if self._is_depthwise:
            met = places.diagonal(0, 1, 3).reshape(pairs, self._channels)
            return (self._meetings @ met).view(kernel, kernel, 1, self._channels).permute(3, 2, 0, 1)
        met = places.transpose(1, 2).reshape(pairs, -1)
        return (self._meetings @ met).view(kernel, kernel, self._channels, -1).permute(2, 3, 0, 1)

    def __call__(self, x: Tensor) -> Tensor:
        """Map (n_rows, channels_in, height, width) to the outputs, channels last in memory."""
        rows = x.shape[0]
        out = functional.linear(x.permute(0, 2, 3, 1).reshape(rows, -1), self.matrix)
        return out.view(rows, self._down, self._across, -1).permute(0, 3, 1, 2)


def averaged(x: Tensor, stride: int) -> Tensor | None:
    """Return the mean over windows of three without the padding, or None where the map is too large to be unrolled.

    Args:
        x: On the CPU, shape (n_rows, channels, height, width).
        stride: Of the windows.
    """
    rows, channels, height, width = x.shape
    down, across = -(-height // stride), -(-width // stride)
    if channels**2 * height * width * down * across > LARGEST:
        return None
    out = functional.linear(x.permute(0, 2, 3, 1).reshape(rows, -1), _averages(channels, stride, height, width))
    return out.view(rows, down, across, channels).permute(0, 3, 1, 2)


def convolved_input(x: Tensor, weight: Tensor, stride: int) -> Tensor | None:
    """Convolve what needs no gradient, or return None where there is too much of it.

    Its windows are columns of a matrix, each tap a row: the gradient of the weight is one product then.

    Args:
        x: Shape (n_rows, channels_in, height, width).
        weight: Shape (channels_out, channels_in, kernel, kernel).
        stride: Of the windows.
    """
    (rows, channels, height, width), kernel = x.shape, weight.shape[2]
    down, across = -(-height // stride), -(-width // stride)
    if kernel**2 * channels * rows * down * across > LARGEST_COLUMNS:
        return None
    padded = functional.pad(x, (kernel // 2,) * 4)
    row, channel, line, place = padded.stride()
    windows = padded.as_strided(
        (kernel, kernel, channels, rows, down, across), (line, place, channel, row, line * stride, place * stride)
    )
    columns = windows.reshape(kernel**2 * channels, -1)
    out = columns.t() @ weight.permute(2, 3, 1, 0).reshape(len(columns), -1)
    return out.view(rows, down, across, -1).permute(0, 3, 1, 2)


@lru_cache(maxsize=256)
def _meetings(kernel: int, stride: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return which tap of a filter lies between two positions, and the same as ones among zeros.

    Returns:
        For each position of the output and of the input, the tap or kernel**2 for none, int64, shape (n_pairs,); and
        float32, shape (kernel**2, n_pairs).
    """
    lines = []
    for side in (height, width):
        outputs = torch.arange(-(-side // stride))[:, None] * stride
        lines.append(torch.arange(side)[None] - outputs + kernel // 2)
    down, across = lines[0][:, None, :, None], lines[1][None, :, None, :]
    is_inside = (down >= 0) & (down < kernel) & (across >= 0) & (across < kernel)
    taps = torch.where(is_inside, down * kernel + across, kernel**2).flatten()
    return taps, functional.one_hot(taps, kernel**2 + 1)[:, :-1].t().float().contiguous()


@lru_cache(maxsize=256)
def _averages(channels: int, stride: int, height: int, width: int) -> Tensor:
    """Return the matrix of `averaged`."""
    meetings = _meetings(3, stride, height, width)[1].sum(0).view(-1, height * width)
    shares = meetings / meetings.sum(1, keepdim=True)
    return torch.kron(shares, torch.eye(channels))
