"""Training any torch module on: labels, teachers, thinning on a schedule, weights on their grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, final

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from compression.modules.cluster import refresh
from compression.modules.forms import Form, forms_of
from compression.modules.importing import ImportedNetwork
from engine.errors import StudyError

__all__ = ["Lesson", "Training", "logits_of", "retrain", "soft_targets"]

REFRESHES = 20  # of masks and codebooks, in one training
MEASURED_BATCHES = 32


@final
@dataclass(frozen=True)
class Training:
    """How to train on.

    Args:
        steps: Of the optimiser, at least.
        epochs: Over the rows, at least.
        batch_rows: Rows a step.
        learning_rate: At its peak; it rises over the first tenth and falls along a cosine.
        weight_decay: Of AdamW, on weights only.
        quantize_at: Share of the training after which weights are rounded.
        teacher_share: Of the loss, where there are both labels and a teacher.
    """

    steps: int = 300
    epochs: float = 2.0
    batch_rows: int = 64
    learning_rate: float = 0.01
    weight_decay: float = 0.0
    quantize_at: float = 0.15
    teacher_share: float = 0.7

    def scaled(self, share: float) -> Training:
        """Return the training with this many times the steps and epochs."""
        return replace(self, steps=max(1, round(self.steps * share)), epochs=self.epochs * share)


@final
@dataclass(frozen=True, eq=False)
class Lesson:
    """Rows to learn from, with targets, a teacher's outputs, or both.

    Args:
        x: As the network takes them, shape (n_rows, ...).
        task: Of the outputs: classes with logits, or values.
        y: Class index, int64, or values, float32, shape (n_rows,); None to learn from the teacher alone.
        soft: A teacher's probabilities, or values, float32, shape (n_rows, n_outputs); None for no teacher.
        weight: Of each row, float32, or None.
    """

    x: Tensor
    task: Literal["classification", "regression"]
    y: Tensor | None = None
    soft: Tensor | None = None
    weight: Tensor | None = None

    def __post_init__(self) -> None:
        if self.y is None and self.soft is None:
            raise ValueError("A lesson needs targets, a teacher's outputs, or both.")


@torch.no_grad()
def soft_targets(teachers: Sequence[Callable[[np.ndarray], np.ndarray]], x: np.ndarray) -> np.ndarray:
    """Return the mean of what several teachers say of rows.

    Args:
        teachers: Each maps rows to probabilities or values, float32, shape (n_rows, n_outputs), such as
            `lambda x: artifact.outputs({"x": x})`.
        x: Rows.

    Example:
        >>> rows = np.zeros((1, 2), np.float32)
        >>> soft_targets([lambda x: x + 1, lambda x: x], rows).tolist()
        [[0.5, 0.5]]

    Source: Hinton et al. (2015), arXiv:1503.02531, section 1 (the mean of an ensemble's probabilities).
    """
    answers = [np.asarray(teacher(x), np.float32) for teacher in teachers]
    return np.asarray(np.mean(answers, axis=0))


def retrain(
    module: nn.Module,
    lesson: Lesson,
    training: Training,
    *,
    seed: int,
    report: Callable[[float], bool] = lambda _progress: True,
) -> nn.Module:
    """Train a module on in place: masks rise, weights are rounded, and what they cost is learned away.

    Weights that have a form (`quantize_aware`, `sparsify`, `cluster`) follow it: zeros rise along a cubic schedule,
    rounding begins after a share of the training, codebooks move with the weights. Running statistics of
    normalisations are measured anew at the end.

    Args:
        module: Gives logits, or values. An imported network that ends with Softmax is trained on what goes into it.
        lesson: To learn from.
        training: How long and how fast.
        seed: Of the order of rows.
        report: Told the share done, ten times; training stops when it returns False.

    Returns:
        The module, in evaluation mode.

    Raises:
        StudyError: If the loss is no longer a finite number.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> x = torch.randn(256, 4)
        >>> lesson = Lesson(x, "classification", y=(x[:, 0] > 0).long())
        >>> trained = retrain(nn.Linear(4, 2), lesson, Training(steps=60, learning_rate=0.05), seed=0)
        >>> bool(((trained(x).argmax(1) == lesson.y).float().mean() > 0.9))
        True
    """
    torch.set_num_threads(1)
    rows = min(training.batch_rows, len(lesson.x))
    total = max(training.steps, math.ceil(training.epochs * len(lesson.x) / rows))
    order = _batches(len(lesson.x), rows, seed)
    optimiser, schedule = _optimiser(module, training, total)
    spread = _spread(lesson)
    forms = list(forms_of(module))
    every = max(1, total // REFRESHES)
    tell = max(1, total // 10)
    module.train()
    for step in range(total):
        progress = step / total
        if step % every == 0:
            _follow(forms, progress, is_quantized=progress >= training.quantize_at)
        chosen = next(order)
        loss = _loss(logits_of(module, lesson.x[chosen].float()), lesson, chosen, training, spread)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        schedule(step)
        optimiser.step()
        if (step + 1) % tell == 0:
            value = float(loss.detach())
            if not math.isfinite(value):
                raise StudyError(f"The training diverged: the loss was {value} at step {step + 1} of {total}.")
            if not report((step + 1) / total):
                break
    _follow(forms, 1.0, is_quantized=True)
    _measure(module, lesson, order)
    return module.eval()


def logits_of(module: nn.Module, x: Tensor) -> Tensor:
    """Return what a module gives, before a last Softmax where an imported network has one."""
    if not isinstance(module, ImportedNetwork):
        found = module(x)
        assert isinstance(found, Tensor)
        return found
    values, last = module.values(x), module.operations[-1]
    name = module.outputs[0].name
    if last.operator in ("Softmax", "LogSoftmax") and last.outputs[0] == name:
        return values[last.inputs[0]]
    return values[name]


def _follow(forms: Sequence[tuple[str, Form, Tensor]], progress: float, *, is_quantized: bool) -> None:
    """Bring masks, rounding and codebooks to where they are due."""
    for _, form, weight in forms:
        form.thin(weight, progress)
        form.is_quantized = is_quantized
    refresh((form, weight) for _, form, weight in forms)


def _loss(outputs: Tensor, lesson: Lesson, chosen: Tensor, training: Training, spread: float) -> Tensor:
    parts, shares = [], []
    if lesson.y is not None:
        shares.append(1.0 if lesson.soft is None else 1 - training.teacher_share)
        if lesson.task == "classification":
            parts.append(functional.cross_entropy(outputs, lesson.y[chosen], reduction="none"))
        else:
            parts.append((outputs.reshape(len(outputs), -1)[:, 0] - lesson.y[chosen]) ** 2 / spread)
    if lesson.soft is not None:
        shares.append(1.0 if lesson.y is None else training.teacher_share)
        soft = lesson.soft[chosen]
        if lesson.task == "classification":
            parts.append(-(soft * functional.log_softmax(outputs, 1)).sum(1))
        else:
            parts.append(((outputs - soft) ** 2).flatten(1).mean(1) / spread)
    loss = sum(share * part for share, part in zip(shares, parts, strict=True))
    assert isinstance(loss, Tensor)
    if lesson.weight is None:
        return loss.mean()
    weight = lesson.weight[chosen]
    return (loss * weight).sum() / weight.sum().clamp_min(1e-12)


def _spread(lesson: Lesson) -> float:
    """Return the variance of the values, so that one learning rate fits all units."""
    values = lesson.soft if lesson.y is None or lesson.task == "classification" else lesson.y
    if values is None or lesson.task == "classification" or len(values) < 2:
        return 1.0
    return max(float(values.float().var()), 1e-12)


def _batches(count: int, rows: int, seed: int) -> Iterator[Tensor]:
    """Yield row numbers without end, every row once an epoch."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(count, generator=generator)
        for start in range(0, count - rows + 1, rows):
            yield order[start : start + rows]


def _optimiser(
    module: nn.Module, training: Training, total: int
) -> tuple[torch.optim.Optimizer, Callable[[int], None]]:
    """Return AdamW and the function that sets its rates for a step.

    A tensor of numbers above one (values in the data's own unit) has a rate as many times higher, since steps of Adam
    know no unit.
    """
    groups = [
        {
            "params": [parameter],
            "weight_decay": training.weight_decay if parameter.dim() > 1 else 0.0,
            "unit": max(1.0, float(parameter.detach().square().mean().sqrt())),
        }
        for parameter in module.parameters()
        if parameter.requires_grad
    ]
    optimiser = torch.optim.AdamW(groups, lr=training.learning_rate)
    rise = max(1, total // 10)

    def schedule(step: int) -> None:
        share = (
            (step + 1) / rise if step < rise else 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))
        )
        for group in optimiser.param_groups:
            group["lr"] = training.learning_rate * share * group["unit"]

    return optimiser, schedule


@torch.no_grad()
def _measure(module: nn.Module, lesson: Lesson, order: Iterator[Tensor]) -> None:
    """Run batches of the final weights, so that running statistics of normalisations are theirs."""
    module.train()
    for _ in range(MEASURED_BATCHES):
        module(lesson.x[next(order)].float())
