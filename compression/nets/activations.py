"""Eight-bit activations: which values of a plan are codes, what they stand for, and their rounding while it trains.

A code is an unsigned byte; the value is (code - zero) x scale. What a ReLU leaves has its zero at 0, what may be
negative at 128. Values that are added or pooled share one scale. No scale lies in the file: the layer that writes a
value divides its own scales by it, the layer that reads it multiplies (`compression.nets.network.Network.written`).

Source: Jacob et al. (2018), arXiv:1712.05877 (simulated quantization, smoothed ranges); here scales of whole groups.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from compression.codings import coding_named
from compression.nets.plan import (
    CODES,
    Addition,
    Convolution,
    Linear,
    Mean,
    Plan,
    Pooling,
    Quantisation,
    Rescaling,
    Standardisation,
    Step,
)

__all__ = ["INPUT_STEP", "LARGEST", "MEAN_STEP", "Activations", "Level", "in_integers", "levels_of"]

LARGEST = 255
SIGNED_ZERO = 128
INPUT_STEP = 1 / 16  # of a float input, in spreads
# Means over windows are divided by it: then none lies half-way between two codes (that takes an even number to be 63
# times an odd one), and engines that add up in another order round alike.
MEAN_STEP = 63 / 64
OBSERVED_EVERY = 5  # steps of the training
SMOOTHING = 0.2  # weight of what was seen last in the scale
SMALLEST_SCALE = 1e-6


@final
@dataclass(frozen=True)
class Level:
    """What the codes of one value mean.

    Args:
        group: Of values that share a scale.
        zero: The code of zero: 0, or 128 where values may be negative.
    """

    group: int
    zero: int

    @property
    def low(self) -> int:
        """Smallest code, counted from zero."""
        return -self.zero

    @property
    def high(self) -> int:
        """Largest code, counted from zero."""
        return LARGEST - self.zero


def in_integers(plan: Plan) -> Plan:
    """Return the plan that executes its convolutions with integers; itself, where they have no integer codes.

    Args:
        plan: Of floats.

    Example:
        >>> from engine.data import Signature
        >>> steps = (Convolution("a", "x", 1, 4, 3, 1, False, True, "int4", "input", "a"), Mean("m", "a"),
        ...          Linear("head", "m", 4, 2, "int8", "a"))
        >>> plan = Plan(Signature("images", "classification", (1, 8, 8), "uint8", ("no", "yes")), steps)
        >>> [step.source for step in in_integers(plan).steps]
        ['x', 'codes', 'a', 'm']
    """
    convolutions = [step for step in plan.steps if isinstance(step, Convolution)]
    if not convolutions or not all(coding_named(step.coding).is_integer for step in convolutions):
        return plan
    first = plan.steps[0]
    before: tuple[Step, ...] = (first,) if isinstance(first, Standardisation) else ()
    entry = first.name if isinstance(first, Standardisation) else "x"
    after = tuple(_reading(step, entry) for step in plan.steps[len(before) :])
    return Plan(plan.signature, (*before, Quantisation(CODES, entry), *after))


def levels_of(plan: Plan) -> dict[str, Level]:
    """Return the levels of all values that are codes, by name, in the order of the steps; none in a plan of floats."""
    groups: dict[str, str] = {}  # each value's representative
    zeros: dict[str, int] = {}
    for step in plan.steps:
        if isinstance(step, Quantisation):
            groups[step.name] = step.name
            zeros[step.name] = 0 if plan.signature.dtype == "uint8" else SIGNED_ZERO
        elif isinstance(step, Convolution) and step.source in groups:
            groups[step.name] = step.name
            zeros[step.name] = 0 if step.is_rectified else SIGNED_ZERO
        elif isinstance(step, Pooling) and step.source in groups:
            groups[step.name], zeros[step.name] = groups[step.source], zeros[step.source]
        elif isinstance(step, Addition) and step.sources[0] in groups:
            joined = {groups[source] for source in step.sources}
            first = next(name for name in groups if groups[name] in joined)
            groups = {name: groups[first] if group in joined else group for name, group in groups.items()}
            groups[step.name], zeros[step.name] = groups[first], max(zeros[source] for source in step.sources)
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups.values()))}
    return {name: Level(numbers[group], zeros[name]) for name, group in groups.items()}


@final
class Activations:
    """The scales of a network's activations, found while it trains, and the rounding to codes.

    A scale is what brings the largest value of a batch to the last code, smoothed over the training. That of the input
    is given.

    Args:
        plan: Executed with integers.
    """

    def __init__(self, plan: Plan) -> None:
        self._levels = levels_of(plan)
        self._means = {step.name: step.source for step in plan.steps if isinstance(step, Mean)}
        self._input = self._levels[CODES].group
        self._scales = {self._input: 1.0 if plan.signature.dtype == "uint8" else INPUT_STEP}
        self._seen: dict[int, float] = {}
        self._steps = 0

    def scale(self, name: str) -> float:
        """Return what one step of the codes of a value, or of what it is the mean of, stands for."""
        return self._scales[self._levels[self._means.get(name, name)].group]

    def begin(self) -> None:
        """Take over what the last step saw."""
        for group, seen in self._seen.items():
            self._scales[group] += SMOOTHING * (seen - self._scales[group])
        self._seen = {}
        self._steps += 1

    def __call__(self, step: Step, x: Tensor) -> Tensor:
        """Return a value as its codes hold it; gradients pass where it is within reach.

        Args:
            step: That made it.
            x: float32, any shape.
        """
        level = self._levels.get(step.name)
        if level is None or (isinstance(step, Quantisation) and self.scale(step.name) == 1.0):
            return x
        if isinstance(step, Pooling):
            if step.kind == "max":
                return x
            x = x / MEAN_STEP
        if level.group != self._input:
            self._observe(level, x)
        rounded = _Coded.apply(x, self._scales[level.group], level.low, level.high)  # type: ignore[no-untyped-call]
        assert isinstance(rounded, Tensor)
        return rounded

    @torch.no_grad()
    def _observe(self, level: Level, x: Tensor) -> None:
        is_known = level.group in self._scales
        if is_known and (not x.requires_grad or self._steps % OBSERVED_EVERY):
            return
        largest = float(x.abs().max() / (LARGEST - SIGNED_ZERO) if level.zero else x.max() / LARGEST)
        largest = max(largest, SMALLEST_SCALE)
        if is_known:
            self._seen[level.group] = max(largest, self._seen.get(level.group, 0.0))
        else:
            self._scales[level.group] = largest


class _Coded(torch.autograd.Function):
    """Values rounded to whole multiples of a scale and kept within reach; gradients of what is beyond are zero."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float, low: int, high: int) -> Tensor:
        codes = (x / scale).round_()
        kept = codes.clamp(low, high)
        ctx.save_for_backward(codes == kept)
        return kept.mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (is_within,) = ctx.saved_tensors
        return gradients[0] * is_within, None, None, None


def _reading(step: Step, entry: str) -> Step:
    """Return a step that reads the codes of the input in place of the input."""
    if isinstance(step, Addition):
        return replace(step, sources=tuple(CODES if source == entry else source for source in step.sources))
    if isinstance(step, Convolution | Pooling | Mean | Linear | Standardisation | Rescaling) and step.source == entry:
        return replace(step, source=CODES)
    return step
