"""The torch twin of a plan: what is trained, and what it becomes just before export."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from compression.codings import Coding, coding_named, in_seven_bits
from compression.nets.activations import INPUT_STEP, Activations
from compression.nets.grid import Grid
from compression.nets.integer_twin import run_integer
from compression.nets.layers import Weights
from compression.nets.magnitude import magnitude_mask, zeros_at
from compression.nets.memory import sides_of
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
from compression.nets.unroll import Unrolled, averaged, convolved_input, is_unrolled

__all__ = ["Network", "Unit", "decoded", "run"]


def _dense(x: Tensor, weight: Tensor, bias: Tensor | None, *_window: int) -> Tensor:
    """Convolve where there are no positions."""
    return functional.linear(x, weight, bias)


CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {0: _dense, 1: functional.conv1d, 2: functional.conv2d}
Normalisation = nn.BatchNorm1d | nn.BatchNorm2d
Weigh = Callable[[Convolution | Linear, Tensor], Tensor]
Code = Callable[[Step, Tensor], Tensor]
HALF_MAX = 65504.0
SMALLEST_NORMAL = 2.0**-14  # of float16


class Unit(nn.Module):
    """A convolution with its normalisation and ReLU, or the last linear layer.

    The forward pass sees the weight that was last shown: by `Network.show`, whenever weights changed. That is done
    outside of autograd, once a step; gradients of what was shown are those of the weight.

    Args:
        step: Of the plan.
        dimensions: Of the input: 2 for images, 1 for signals, 0 for rows of a table.
        sides: Of the map that the layer is given.
    """

    def __init__(self, step: Convolution | Linear, dimensions: int, sides: tuple[int, ...]) -> None:
        super().__init__()
        self.step, self.sides = step, sides
        self.is_image = dimensions == 2
        self.may_unroll = isinstance(step, Convolution) and is_unrolled(step, sides)
        self.coding = coding_named(step.coding)
        self.is_quantized = False
        self.mask: Tensor | None = None
        self.shown: Tensor | None = None
        self.unrolled: Unrolled | None = None
        self.normalisation: Normalisation | None = None
        self.bias: Tensor | None = None
        if isinstance(step, Linear):
            self.weight = nn.Parameter(torch.empty(step.channels_in, step.channels_out))
            self.bias = nn.Parameter(torch.zeros(step.channels_out))
            nn.init.normal_(self.weight, std=step.channels_in**-0.5)
            return
        self.convolve = CONVOLUTIONS[dimensions]
        channels_out, channels_in, kernel = step.weight_shape
        self.weight = nn.Parameter(torch.empty(channels_out, channels_in, *[kernel] * dimensions))
        nn.init.normal_(self.weight, std=(2.0 / (channels_in * kernel**dimensions)) ** 0.5)
        if step.has_bias:
            self.normalisation = nn.BatchNorm2d(channels_out) if dimensions == 2 else nn.BatchNorm1d(channels_out)

    @property
    def channel_axis(self) -> int:
        """Axis of the output channels in the weight."""
        return 1 if isinstance(self.step, Linear) else 0

    def forward(self, x: Tensor) -> Tensor:
        """Map (n_rows, channels_in, ...) to (n_rows, channels_out, ...)."""
        step = self.step
        if isinstance(step, Linear):
            return functional.linear(x, self.weight.T if self.shown is None else self.shown.T, self.bias)
        out = self._convolved(step, x)
        norm = self.normalisation
        if norm is not None:
            assert norm.momentum is not None
            out = functional.batch_norm(
                out, norm.running_mean, norm.running_var, norm.weight, norm.bias, self.training, norm.momentum, norm.eps
            )
        return functional.relu_(out) if step.is_rectified else out

    def _convolved(self, step: Convolution, x: Tensor) -> Tensor:
        if self.unrolled is not None:
            return self.unrolled(x)
        weight = self.weight if self.shown is None else self.shown
        if self.is_image and x.device.type == "cpu":
            if step.kernel == step.stride == 1:
                return functional.linear(x.permute(0, 2, 3, 1), weight.flatten(1)).permute(0, 3, 1, 2)
            if step.source in ("x", CODES) and (found := convolved_input(x, weight, step.stride)) is not None:
                return found
        groups = step.channels_out if step.is_depthwise else 1
        return self.convolve(x, weight, None, step.stride, step.kernel // 2, 1, groups)

    @property
    def is_rounded(self) -> bool:
        """Whether the forward pass sees the weight on the grid of its coding."""
        return self.is_quantized and self.coding.is_integer

    @property
    def thinned(self) -> Tensor:
        """The weight, without those that are set to zero."""
        return self.weight if self.mask is None else self.weight * self.mask

    def show(self, weight: Tensor) -> None:
        """Let the forward pass see a weight: thinned and on its grid where that is due, unrolled where that is faster.

        Args:
            weight: What is seen from now on. Gradients reach `self.weight` as if it had been that one.
        """
        if self.may_unroll and self.weight.device.type == "cpu":
            if self.unrolled is None:
                assert isinstance(self.step, Convolution)
                self.unrolled = Unrolled(self.step, self.sides)
            self.unrolled.filters.copy_(weight)
            self.unrolled.refresh()
            return
        self.unrolled = None
        if weight is self.weight:
            self.shown = None
            return
        if self.shown is None or self.shown.device != self.weight.device:
            self.shown = self.weight.detach().clone().requires_grad_()
        self.shown.grad = self.weight.grad  # the very same memory: what is found for one is found for the other
        self.shown.copy_(weight)

    def pass_gradient(self) -> None:
        """Add the gradient of what was shown to that of the weight; none reaches weights that are set to zero."""
        gradient = self.weight.grad
        if gradient is None:
            return
        if self.unrolled is not None and self.unrolled.matrix.grad is not None:
            gradient.add_(self.unrolled.gradient())
        if self.mask is not None:
            gradient.mul_(self.mask)

    @torch.no_grad()
    def written(self, coded: tuple[Tensor, Tensor] | None, weigh: float = 1.0, shift: float = 1.0) -> Weights:
        """Return codes, float16 scales and biases with the normalisation folded in: what the file holds.

        Args:
            coded: Codes of the weight and scales of its channels; None where it is written as floats.
            weigh: Factor of the weight, which its scales take.
            shift: Factor of the bias.
        """
        axis = self.channel_axis
        gain, bias = torch.ones(self.weight.shape[axis]), self.bias
        norm = self.normalisation
        if norm is not None:
            gain = norm.weight / torch.sqrt(norm.get_buffer("running_var") + norm.eps)
            bias = norm.bias - norm.get_buffer("running_mean") * gain
        bias16, gain = None if bias is None else _half(bias * shift), gain * weigh
        if coded is None:
            shape = [1] * self.weight.dim()
            shape[axis] = -1
            return Weights((self.weight * gain.reshape(shape)).contiguous().numpy(), None, bias16)
        codes, scale = coded
        return Weights(codes.contiguous().numpy().astype(np.int16), _half(scale * gain), bias16)


class Network(nn.Module):
    """All steps of a plan, trainable.

    The first weights come from the global generator of torch: call `torch.manual_seed` before.

    Args:
        plan: What to build.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self._grids: list[tuple[list[str], Grid]] = []
        self.activations = Activations(plan) if plan.is_integer else None
        sides = sides_of(plan)
        self.units: dict[str, Unit] = {
            step.name: Unit(step, plan.dimensions, sides[step.source]) for step in plan.weighted
        }
        for name, unit in self.units.items():
            if isinstance(unit.step, Convolution) and unit.step.shared_with:
                unit.weight = self.units[unit.step.shared_with].weight
            if plan.is_integer and isinstance(unit.step, Convolution):
                unit.coding = in_seven_bits(unit.coding)
            self.add_module(name, unit)

    def quantize(self, is_quantized: bool = True) -> None:
        """Train on quantized weights from now on, or on float ones again."""
        for unit in self.units.values():
            unit.is_quantized = is_quantized
        self._grids = []
        self.show()

    def thin(self, progress: float) -> None:
        """Set the smallest weights of sparse layers to zero, as many as are due after a share of the training."""
        sparse = [unit for unit in self.units.values() if unit.coding.density < 1]
        for unit in sparse:
            unit.mask = magnitude_mask(unit.weight, zeros_at(progress, unit.coding, unit.weight.numel()))
        if sparse:
            self.show()

    @torch.no_grad()
    def show(self) -> None:
        """Let the forward pass see all weights as they are now; call it whenever they changed."""
        rounded = {name: unit.thinned for name, unit in self.units.items() if unit.is_rounded}
        if rounded and not self._grids:
            self._grids = self._made_grids(rounded)
        for names, grid in self._grids if rounded else []:
            rounded.update(zip(names, grid.round([rounded[name] for name in names]), strict=True))
        for name, unit in self.units.items():
            unit.show(rounded[name] if unit.is_rounded else unit.thinned)

    def _made_grids(self, weights: Mapping[str, Tensor]) -> list[tuple[list[str], Grid]]:
        """Return a grid for each coding in use, with the names of the units on it."""
        found: dict[Coding, list[str]] = {}
        for name in weights:
            found.setdefault(self.units[name].coding, []).append(name)
        return [
            (names, Grid(coding, [weights[n] for n in names], [self.units[n].channel_axis for n in names]))
            for coding, names in found.items()
        ]

    @torch.no_grad()
    def pass_gradients(self) -> None:
        """Bring what autograd found for the weights that were shown to those that are trained."""
        for unit in self.units.values():
            unit.pass_gradient()

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs, float32, (n_rows, *shape), to logits, (n_rows, n_outputs)."""
        code = self.activations if any(unit.is_quantized for unit in self.units.values()) else None
        if code is not None:
            code.begin()
        return _run(self.plan, x, lambda step, source: self.units[step.name](source), code)

    def written(self) -> dict[str, Weights]:
        """Return the weights of every step as the file holds them.

        Where activations are codes, layers take in their scales: those of a convolution lead from codes to codes, in
        shares of `INPUT_STEP`, and so does its bias; those of the last layer lead from codes to its values.
        """
        integer = {name: unit.thinned.detach() for name, unit in self.units.items() if unit.coding.is_integer}
        coded: dict[str, tuple[Tensor, Tensor]] = {}
        for names, grid in self._made_grids(integer):
            coded.update(zip(names, grid.codes([integer[name] for name in names]), strict=True))
        if self.activations is None:
            return {name: unit.written(coded.get(name)) for name, unit in self.units.items()}
        made = {}
        for name, unit in self.units.items():
            step, scale = unit.step, self.activations.scale
            if isinstance(step, Linear):
                made[name] = unit.written(coded.get(name), scale(step.source))
                continue
            shift = 1 / (INPUT_STEP * scale(name))
            weights = unit.written(coded[name], unit.coding.unit * scale(step.source) * shift, shift)
            assert weights.scale is not None
            made[name] = replace(weights, scale=_normal(weights.scale))
        return made


@torch.no_grad()
def run(plan: Plan, weights: Mapping[str, Weights], x: Tensor) -> Tensor:
    """Run the written weights in torch: the twin of the file, just before export.

    Args:
        plan: The steps.
        weights: As they are written.
        x: Prepared inputs, float32, shape (n_rows, *shape).

    Returns:
        Logits, or values, float32, shape (n_rows, n_outputs).
    """

    def weighted(step: Convolution | Linear, source: Tensor) -> Tensor:
        weight, bias = decoded(step, weights[step.name])
        if isinstance(step, Linear):
            return source @ weight if bias is None else source @ weight + bias
        groups = step.channels_out if step.is_depthwise else 1
        out = CONVOLUTIONS[plan.dimensions](source, weight, bias, step.stride, step.kernel // 2, 1, groups)
        return out.relu() if step.is_rectified else out

    if plan.is_integer:
        first = plan.steps[0]
        ready = _apply(plan, first, {"x": x}, weighted) if isinstance(first, Standardisation) else x
        return run_integer(plan, weights, ready)
    return over_views(plan, lambda rows: _run(plan, rows, weighted), x)


def over_views(plan: Plan, answers: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the mean of the logits, or values, that a network gives for all views of some images."""
    if plan.views == 1:
        return answers(x)
    both = answers(torch.cat([x, x.flip(-1)]))
    return both.reshape(plan.views, len(x), -1).mean(0)


def decoded(step: Convolution | Linear, written: Weights) -> tuple[Tensor, Tensor | None]:
    """Return weight and bias of a step, float32, exactly as the graph decodes them."""
    coding = coding_named(step.coding)
    values = torch.from_numpy(np.asarray(written.codes, np.float32))
    if coding.name == "float16":
        values = values.half().float()
    if written.scale is not None:
        shape = [1] * values.dim()
        shape[1 if isinstance(step, Linear) else 0] = -1
        values = (values - coding.offset) * torch.from_numpy(written.scale.astype(np.float32)).reshape(shape)
    bias = None if written.bias is None else torch.from_numpy(written.bias.astype(np.float32))
    return values, bias


def _run(plan: Plan, x: Tensor, weighted: Weigh, code: Code | None = None) -> Tensor:
    values = {"x": x}
    for step in plan.steps:
        value = _apply(plan, step, values, weighted)
        values[step.name] = value if code is None else code(step, value)
    return values[plan.steps[-1].name]


def _apply(plan: Plan, step: Step, values: Mapping[str, Tensor], weighted: Weigh) -> Tensor:
    if isinstance(step, Addition):
        total = values[step.sources[0]]
        for source in step.sources[1:]:
            total = total + values[source]
        return total
    x = values[step.source]
    if isinstance(step, Quantisation):
        return x
    if isinstance(step, Standardisation):
        factors, centres = _columns(step)
        z = x * factors.to(x.device) - centres.to(x.device)
        return torch.where(z.isnan(), 0.0, z).clamp(-step.bound, step.bound)
    if isinstance(step, Rescaling):
        return x * np.float32(step.spread).item() + np.float32(step.center).item()
    if isinstance(step, Mean):
        return x.mean(dim=tuple(range(2, x.dim())))
    if isinstance(step, Pooling):
        if step.kind == "max":
            pool = functional.max_pool2d if plan.dimensions == 2 else functional.max_pool1d
            return pool(x, 3, step.stride, 1)
        return _average(x, step.stride, plan.dimensions)
    return weighted(step, x)


@lru_cache(maxsize=256)
def _columns(step: Standardisation) -> tuple[Tensor, Tensor]:
    """Return factors and centres, float32, shape (n_columns,)."""
    return torch.tensor([2.0**exponent for exponent in step.exponents]), torch.tensor(step.centres)


def _average(x: Tensor, stride: int, dimensions: int) -> Tensor:
    """Return the mean over windows of three without the padding; as a convolution, faster than torch's pooling."""
    if dimensions == 2 and x.device.type == "cpu" and (found := averaged(x, stride)) is not None:
        return found
    window, shares = _windows_of_three(x.shape[1:], stride, x.device, x.dtype)
    return CONVOLUTIONS[dimensions](x, window, None, stride, 1, 1, x.shape[1]) * shares


@lru_cache(maxsize=256)
def _windows_of_three(
    shape: torch.Size, stride: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return ones for a depthwise convolution, and the share that each number in a window has in its mean."""
    convolve = CONVOLUTIONS[len(shape) - 1]
    window = torch.ones(shape[0], 1, *[3] * (len(shape) - 1), device=device, dtype=dtype)
    counts = convolve(window.new_ones(1, 1, *shape[1:]), window[:1], None, stride, 1)
    return window, counts.reciprocal()


def _normal(scales: np.ndarray) -> np.ndarray:
    """Return scales of which none is too small for float16 to hold well: biases are divided by them."""
    return np.asarray(np.copysign(np.maximum(np.abs(scales), np.float16(SMALLEST_NORMAL)), scales))


def _half(values: Tensor) -> np.ndarray:
    return values.clamp(-HALF_MAX, HALF_MAX).half().numpy()
