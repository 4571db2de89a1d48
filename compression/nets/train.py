"""The torch training loop of every family."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from torch import Tensor

from compression.nets.adam import FlatAdamW
from compression.nets.device import Precision, device_for
from compression.nets.distill import loss_gradient, loss_of, targets_of
from compression.nets.flat import flattened
from compression.nets.network import Network, over_views
from compression.nets.plan import Convolution, Plan, Rescaling
from compression.nets.prune import keep_channels
from engine.data import Rows, Signature
from engine.errors import StudyError

__all__ = ["Batches", "Examples", "Recipe", "prepared", "suited_shift", "train"]

EVALUATION_ROWS = 1000  # for each report: a share of a short training that is hardly felt
EVALUATION_BATCH = 250
# Shares of the training: before channels are removed (0.25), before weights are quantized (0.4), and once after each.
REPORTS = (0.12, 0.24, 0.39, 0.6)
THINNING_STEPS = 10
LONG_EPOCHS = 20
PIXELS_A_SHIFT = 28  # 8 x 8 images are not moved at all, 32 x 32 by one


@final
@dataclass(frozen=True)
class Recipe:
    """How to train.

    Args:
        steps: Of the optimiser, at least.
        epochs: Over the rows, at least.
        batch_rows: Rows a step.
        learning_rate: At its peak; it rises over the first tenth and falls along a cosine.
        weight_decay: Of AdamW.
        smoothing: Of the labels.
        shift: Largest random shift of an image, in pixels along each axis; None for `suited_shift`.
        flip: Whether to mirror images left to right at random.
        prune_at: Share of the training after which channels are removed.
        quantize_at: Share of the training after which weights are quantized.
        teacher_share: Of the loss, where there is a teacher.
        device: `cpu`, `cuda`, or `auto` for a GPU where there is one; there in mixed precision.
        is_mixed: Whether cores that multiply bfloat16 do so too: wide layers are quicker, coded weights less exact.
    """

    steps: int = 400
    epochs: float = 2
    batch_rows: int = 64
    learning_rate: float = 0.01
    weight_decay: float = 0.01
    smoothing: float = 0.05
    shift: int | None = 0
    flip: bool = False
    prune_at: float = 0.25
    quantize_at: float = 0.4
    teacher_share: float = 0.7
    device: str = "auto"
    is_mixed: bool = False

    def scaled(self, share: float) -> Recipe:
        """Return the recipe with this many times the steps and epochs."""
        return replace(self, steps=max(1, round(self.steps * share)), epochs=self.epochs * share)


@final
@dataclass(frozen=True, eq=False)
class Examples:
    """Rows as tensors, bytes kept as bytes.

    Args:
        x: uint8 or float32, shape (n_rows, *signature.shape); floats already centred and scaled.
        y: Class indices, int64, shape (n_rows,); or values, float32.
        weight: float32, shape (n_rows,), or None.
        soft: A teacher's probabilities or values, float32, shape (n_rows, n_outputs), or None.
    """

    x: Tensor
    y: Tensor
    weight: Tensor | None = None
    soft: Tensor | None = None

    @staticmethod
    def of(rows: Rows, signature: Signature, soft: np.ndarray | None = None) -> Examples:
        """Turn rows into tensors, without a copy where possible."""
        weight = None if rows.weight is None else torch.from_numpy(rows.weight.astype(np.float32))
        return Examples(
            prepared(np.asarray(rows.x), signature),
            torch.from_numpy(np.asarray(rows.y, np.int64 if signature.classes else np.float32)),
            weight,
            None if soft is None else torch.from_numpy(np.asarray(soft, np.float32)),
        )

    def __len__(self) -> int:
        return len(self.y)

    def to(self, device: torch.device) -> Examples:
        """Return the rows on a device."""
        weight, soft = (part if part is None else part.to(device) for part in (self.weight, self.soft))
        return Examples(self.x.to(device), self.y.to(device), weight, soft)


def prepared(x: np.ndarray, signature: Signature) -> Tensor:
    """Return inputs as the first step sees them: bytes and tables as they are, floats centred and scaled."""
    if signature.dtype == "uint8" or signature.kind == "table":
        return torch.from_numpy(np.ascontiguousarray(x))
    return torch.from_numpy((x - np.float32(signature.center)) / np.float32(signature.spread))


def train(
    network: Network,
    examples: Examples,
    recipe: Recipe,
    *,
    counts: Mapping[str, int],
    seed: int,
    report: Callable[[float, float], bool],
    valid: Examples | None = None,
) -> Network:
    """Train, remove channels, quantize, and train on; return the network on the CPU, its normalisation measured anew.

    Args:
        network: Fresh; it may be changed.
        examples: To learn from.
        recipe: How.
        counts: Channels to keep, by group.
        seed: Of order and augmentation.
        report: Told (share done, validation error) at each of `REPORTS`; training stops when it returns False.
        valid: Rows for these reports; without them the error told is NaN.

    Raises:
        StudyError: If the loss is no longer a finite number; the trial ends there.
        SettingsError: If the device is not there.
    """
    torch.set_num_threads(1)
    device = device_for(recipe.device)
    spread = _spread(network)
    precision = Precision.on(device, is_mixed=spread is None and (recipe.is_mixed or device.type != "cpu"))
    scaler = precision.scaler()
    valid = None if valid is None else valid.to(device)
    batch_rows = min(recipe.batch_rows, len(examples))
    total = max(recipe.steps, math.ceil(recipe.epochs * len(examples) / batch_rows))
    if recipe.shift is None:
        epochs = total * batch_rows / len(examples)
        recipe = replace(recipe, shift=suited_shift(network.plan.with_channels(dict(counts)), len(examples), epochs))
    batches = Batches(examples.to(device), recipe, seed)
    removal, quantization = int(recipe.prune_at * total), int(recipe.quantize_at * total)
    batches.lay_out(network).train()
    optimiser, schedule = _optimiser(network, recipe, total, done=0)
    for step in range(total):
        if step == removal and any(width != counts.get(group, width) for group, width in _widths(network)):
            network = batches.lay_out(keep_channels(network, counts))
            optimiser, schedule = _optimiser(network, recipe, total, done=step)
        if step == quantization:
            network.quantize()
        if step % THINNING_STEPS == 0:
            network.thin(step / total)
        x, labels, weight, soft = batches.next()
        network.show()
        with precision.forward():
            outputs = network(x)
        answers, smoothing, share = outputs.float(), recipe.smoothing, recipe.teacher_share
        targets = targets_of(labels, answers.shape[1], soft=soft, smoothing=smoothing, share=share)
        optimiser.gradient.zero_()
        torch.autograd.backward(answers, scaler.scale(loss_gradient(answers, targets, weight, spread)))
        network.pass_gradients()
        schedule(step)
        scaler.step(optimiser)  # type: ignore[arg-type]
        scaler.update()
        if step % 20 == 19 or step == total - 1:
            _check(loss_of(answers, targets, weight, spread), step, total)
        if step in _milestones(total) and not report((step + 1) / total, _error(network, valid)):
            network = network if step >= removal else batches.lay_out(keep_channels(network, counts))
            break
    network.thin(1.0)
    network.quantize()
    _measure_normalisation(network, batches)
    return _brought_home(network).eval()


def suited_shift(plan: Plan, rows: int, epochs: float) -> int:
    """Return by how many pixels images are moved, at most: one for each `PIXELS_A_SHIFT` of their shorter side.

    None where the training is short, nor where there are fewer weights than rows: it only takes longer then to learn
    as much.

    Args:
        plan: Of what is trained, after channels are removed.
        rows: To learn from.
        epochs: Over them.
    """
    if plan.dimensions != 2 or epochs < LONG_EPOCHS or plan.parameters < rows:
        return 0
    return min(plan.signature.shape[1:]) // PIXELS_A_SHIFT


def _spread(network: Network) -> float | None:
    """Return the unit of the errors of a regression, or None for classes."""
    last = network.plan.steps[-1]
    return last.spread if isinstance(last, Rescaling) else None


def _brought_home(network: Network) -> Network:
    """Move a network to the CPU, where files are written."""
    network.to("cpu")
    for unit in network.units.values():
        unit.mask = None if unit.mask is None else unit.mask.to("cpu")
    network.quantize()
    return network


def _milestones(total: int) -> tuple[int, ...]:
    return tuple(round(total * share) - 1 for share in REPORTS)


def _widths(network: Network) -> list[tuple[str, int]]:
    return [(step.group_out, step.channels_out) for step in network.plan.weighted if isinstance(step, Convolution)]


def _optimiser(network: Network, recipe: Recipe, total: int, *, done: int) -> tuple[FlatAdamW, Callable[[int], None]]:
    """Return AdamW and the function that sets its rate for a step: up over a tenth, down along a cosine."""
    parameters = sorted(network.parameters(), key=lambda parameter: parameter.dim() <= 1)
    whole, starts = flattened(parameters)
    decayed = starts[sum(parameter.dim() > 1 for parameter in parameters)]
    optimiser = FlatAdamW(whole, decayed, rate=recipe.learning_rate, weight_decay=recipe.weight_decay)
    rise = max(1, total // 10)

    def schedule(step: int) -> None:
        if step < rise:
            share = (step + 1) / rise
        else:
            share = 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))
        if done:  # a new optimiser knows no second moments yet
            share *= min(1.0, (step - done + 1) / 10)
        optimiser.rate = recipe.learning_rate * share

    return optimiser, schedule


def _check(loss: Tensor, step: int, total: int) -> None:
    value = float(loss.detach())
    if not math.isfinite(value):
        raise StudyError(f"The training diverged: the loss was {value} at step {step + 1} of {total}.")


@torch.no_grad()
def _error(network: Network, valid: Examples | None) -> float:
    """Return the share of wrong labels, or the root of the mean squared difference of values."""
    if valid is None:
        return math.nan
    network.eval()
    network.show()
    rows = slice(0, EVALUATION_ROWS)
    y = valid.y[rows]
    outputs = torch.cat(
        [over_views(network.plan, network, part.float()) for part in torch.split(valid.x[rows], EVALUATION_BATCH)]
    )
    network.train()
    if y.is_floating_point():
        return float((outputs[:, 0] - y).square().mean().sqrt())
    return int((outputs.argmax(1) != y).sum()) / len(y)


@torch.no_grad()
def _measure_normalisation(network: Network, batches: Batches) -> None:
    """Replace running averages by the mean over fresh batches of the final weights."""
    norms = [unit.normalisation for unit in network.units.values() if unit.normalisation is not None]
    network.train()
    for number in range(min(64, math.ceil(len(batches.examples) / batches.rows))):
        for norm in norms:
            norm.momentum = 1 / (number + 1)
        network(batches.next()[0])


class Batches:
    """Endless batches in random order, augmented; every row once an epoch.

    Args:
        examples: To learn from.
        recipe: Its `batch_rows`, and for images `shift` and `flip`: each image is moved by up to so many pixels along
            each axis, zeros where it leaves, and half of them are mirrored left to right.
        seed: Of order and augmentation.
    """

    def __init__(self, examples: Examples, recipe: Recipe, seed: int) -> None:
        self.examples, self.recipe = examples, recipe
        self.rows = min(recipe.batch_rows, len(examples))
        self.is_image = examples.x.dim() == 4
        self.memory_format = torch.channels_last if self.is_image else torch.contiguous_format
        self._rng = torch.Generator().manual_seed(seed)
        self._order, self._place = torch.empty(0, dtype=torch.int64), 0
        shift = (recipe.shift or 0) if self.is_image else 0
        self._padded = torch.nn.functional.pad(examples.x, (shift,) * 4) if shift else examples.x
        self._shift = shift

    def lay_out(self, network: Network) -> Network:
        """Put the weights on the device and in the memory order of the batches."""
        network.to(self.examples.x.device, memory_format=self.memory_format)  # type: ignore[call-overload]
        return network

    def next(self) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Return inputs, labels, weights and soft labels of one batch."""
        if self._place + self.rows > len(self._order):
            self._order, self._place = torch.randperm(len(self.examples), generator=self._rng), 0
        chosen = self._order[self._place : self._place + self.rows].to(self.examples.x.device)
        self._place += self.rows
        e = self.examples
        x = self._inputs(chosen).float()
        return (
            x.contiguous(memory_format=self.memory_format),
            e.y.index_select(0, chosen),
            None if e.weight is None else e.weight.index_select(0, chosen),
            None if e.soft is None else e.soft.index_select(0, chosen),
        )

    def _inputs(self, chosen: Tensor) -> Tensor:
        x = self._padded.index_select(0, chosen)
        if self._shift:
            height, width = self.examples.x.shape[2:]
            device = x.device
            moves = torch.randint(0, 2 * self._shift + 1, (2, len(chosen)), generator=self._rng).to(device)
            down = (moves[0][:, None] + torch.arange(height, device=device))[:, None, :, None]
            right = (moves[1][:, None] + torch.arange(width, device=device))[:, None, None, :]
            channels = torch.arange(x.shape[1], device=device)[None, :, None, None]
            x = x[torch.arange(len(chosen), device=device)[:, None, None, None], channels, down, right]
        if self.recipe.flip and self.is_image:
            mirrored = torch.rand(len(chosen), generator=self._rng).to(x.device) < 0.5
            x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
        return x
