"""Rounding all weights of one coding at once: a few operations on one table in place of a dozen for each layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from compression.codings import Coding
from compression.nets.quantize import codes_and_scale

__all__ = ["Grid"]


@final
class Grid:
    """A table with a row for each output channel of several weights, filled up with zeros.

    Args:
        coding: An integer coding, of all of them.
        weights: float32, any shapes, on one device.
        axes: Of their output channels: 0, or 1 of a matrix.
    """

    def __init__(self, coding: Coding, weights: Sequence[Tensor], axes: Sequence[int]) -> None:
        self._coding = coding
        self._heights = heights = [weight.shape[axis] for weight, axis in zip(weights, axes, strict=True)]
        widths = [weight.numel() // height for weight, height in zip(weights, heights, strict=True)]
        self._table = weights[0].new_zeros(sum(heights), max(widths))
        self._rounded = torch.zeros_like(self._table)
        self._counts = torch.repeat_interleave(torch.tensor(widths), torch.tensor(heights))[:, None].to(self._table)
        self._places, self._results = (
            [
                _place(part[:, :width], weight, axis)
                for part, width, weight, axis in zip(torch.split(table, heights), widths, weights, axes, strict=True)
            ]
            for table in (self._table, self._rounded)
        )

    def round(self, weights: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return weights as the file will hold them, scales apart, which are rounded when it is written.

        Args:
            weights: Of the shapes that the grid was made for; no gradients are followed.

        Returns:
            Views of the grid, until the next call.
        """
        codes, scale = self._coded(weights)
        torch.mul(codes.sub_(self._coding.offset) if self._coding.offset else codes, scale, out=self._rounded)
        return self._results

    def codes(self, weights: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Return the codes that `round` shows of each weight, and the scales of its channels.

        Long trainings leave weights within a last bit of where their code changes: sums in another order than that of
        the table would give other codes than those that were trained.
        """
        codes, scale = self._coded(weights)
        self._rounded.copy_(codes)
        scales = torch.split(scale.flatten(), self._heights)
        return [(result.clone(), part) for result, part in zip(self._results, scales, strict=True)]

    def _coded(self, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        for place, weight in zip(self._places, weights, strict=True):
            place.copy_(weight)
        return codes_and_scale(self._table, self._coding, counts=self._counts)


def _place(rows: Tensor, weight: Tensor, axis: int) -> Tensor:
    """Return a part of the table with the shape of a weight, in about the same order of memory."""
    if axis:
        return rows.t()
    shape = weight.shape
    if weight.dim() == 4 and weight.is_contiguous(memory_format=torch.channels_last):
        return rows.view(-1, shape[2], shape[3], shape[1]).permute(0, 3, 1, 2)
    return rows.view(-1, *shape[1:])
