"""Small multi-layer perceptrons, trained with the rounding of their weights."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from automl.fitted import Fitted
from automl.lesson import Genes, Lesson
from automl.models.linear import dense_fitted
from automl.models.slopes import slopes
from automl.preparation import dense
from automl.solver import fit_weights

__all__ = ["fit_perceptron"]

BATCH_ROWS, LARGE_BATCH_ROWS, LARGE = 128, 256, 10_000
LEAST_STEPS, MOST_STEPS = 300, 12_000
ROUNDED_FROM = 0.6  # share of the training after which weights are used as the file will hold them
LEVELS = {"int4": 7, "int8": 127}
ASKED_EVERY = 200


def fit_perceptron(lesson: Lesson, genes: Genes) -> Iterator[Fitted]:
    """Yield one network: AdamW, a rate that warms up and falls to zero, ReLU."""
    preparation = dense(lesson.table, lesson.rows, lesson.targets, genes)
    features = preparation.apply(lesson.rows).astype(np.float32)
    widths = [features.shape[1], *[int(genes["perceptron.width"])] * int(genes["perceptron.layers"])]
    layers = _trained(features, widths, lesson, genes)
    described = f"perceptron of {'-'.join(map(str, widths))}"
    yield dense_fitted(preparation, layers, lesson, coding=str(genes["coding"]), described=described)


def _trained(
    features: np.ndarray, widths: list[int], lesson: Lesson, genes: Genes
) -> list[tuple[np.ndarray, np.ndarray, str]]:
    import torch

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(lesson.seed)
    targets, scores = lesson.targets, lesson.targets.scores
    centre, unit = np.zeros(scores.shape[1]), 1.0
    if targets.link == "identity":
        centre, unit = scores.mean(axis=0), float(scores.std()) or 1.0
    x = torch.from_numpy(features)
    goal = torch.from_numpy(((scores - centre) / unit).astype(np.float32))
    weight = torch.from_numpy((targets.weight / targets.weight.mean()).astype(np.float32))
    parameters = _started([*widths, scores.shape[1]], generator, features, lesson)
    batch = min(BATCH_ROWS if len(x) < LARGE else LARGE_BATCH_ROWS, len(x))
    passes = int(genes["perceptron.passes"])
    steps = lesson.effort(min(max(passes * len(x) // batch, LEAST_STEPS), MOST_STEPS))
    rate, levels = float(genes["perceptron.rate"]), LEVELS.get(str(genes["coding"]), 0)
    groups = [
        {"params": parameters[::2], "weight_decay": float(genes["perceptron.decay"])},
        {"params": parameters[1::2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True)
    for step in range(steps):
        if step % ASKED_EVERY == ASKED_EVERY - 1 and not lesson.goes_on():
            break
        share = step / steps
        rows = torch.randint(0, len(x), (batch,), generator=generator)
        used = _rounded(parameters, levels if share >= ROUNDED_FROM else 0)
        gradients = slopes(x[rows], used, goal[rows], weight[rows] / batch, targets.link)
        for entry, gradient in zip(parameters, gradients, strict=True):
            entry.grad = gradient
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (share + 1 / steps) / 0.1) * 0.5 * (1 + math.cos(math.pi * share))
        optimizer.step()
    made = [entry.double().numpy() for entry in _rounded(parameters, levels)]
    activations = ["relu"] * (len(made) // 2 - 1) + ["identity"]
    layers = [(made[2 * n], made[2 * n + 1], activation) for n, activation in enumerate(activations)]
    last, bias, activation = layers[-1]
    layers[-1] = (last * unit, bias * unit + centre, activation)
    return layers


def _started(widths: list[int], generator: Any, features: np.ndarray, lesson: Lesson) -> list[Any]:
    """Return weights and biases to begin with: drawn by the width of their input, the last bias at the mean."""
    import torch

    made = []
    for number, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        is_last = number == len(widths) - 2
        spread = (1.0 if is_last else 2.0) / max(inputs, 1)
        made.append(torch.randn(inputs, outputs, generator=generator) * math.sqrt(spread) * (0.3 if is_last else 1.0))
        made.append(torch.zeros(outputs) if is_last else torch.randn(outputs, generator=generator) * 0.3)
    if lesson.targets.classes:
        nothing = np.zeros((len(features), 1))
        few = slice(None, None, max(1, len(features) // 2000))
        part = lesson.targets.take(np.arange(len(features))[few])
        _, base = fit_weights(nothing[few], part.scores, part.weight, part.link, ridge=1.0)
        made[-1] = torch.from_numpy(base.astype(np.float32))
    return made


def _rounded(parameters: list[Any], levels: int) -> list[Any]:
    """Return the parameters with weights on their grid; gradients are used as if they were not."""
    if not levels:
        return parameters
    made = []
    for number, entry in enumerate(parameters):
        if number % 2:
            made.append(entry)
            continue
        step = (entry.abs().amax(dim=0, keepdim=True) / levels).clamp_min(1e-8).half().float()
        made.append((entry / step).round().clamp(-levels, levels) * step)
    return made
