"""What winners learn from: their best network, wider and in full precision, and what several of those say of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from compression.modules.retrain import soft_targets
from compression.nets.export import export
from compression.nets.network import Network
from compression.nets.plan import Convolution, Linear, Plan, Step
from compression.nets.train import Examples, Recipe, train
from engine.artifact import Artifact
from engine.data import Dataset, Rows
from engine.score import error_of
from nas.measure import measured

__all__ = ["opinions", "teach", "widened"]

WIDTH = 1.5  # of each layer: 2.25 times the multiply-accumulates
SHARE = 0.7  # of a winner's training: full precision learns in fewer steps


def teach(plan: Plan, data: Dataset, recipe: Recipe, *, seed: int, metric: str) -> Artifact:
    """Train a network without limits on the training rows, and write it.

    Args:
        plan: Of the best network, before channels are removed; it computes with floats.
        data: Training and validation rows.
        recipe: Of a winner.
        seed: Of the first weights, of order and augmentation.
        metric: Of the validation error on its card.

    Source: Müller et al. (2019), arXiv:1906.02629: labels are not smoothed for those who teach, since smoothing takes
    away what classes have in common.
    """
    train_rows, valid = data.train(-1), data.valid(-1)
    torch.manual_seed(seed)
    network = train(
        Network(measured(widened(plan), train_rows)),
        Examples.of(train_rows, plan.signature),
        replace(recipe.scaled(SHARE), smoothing=0.0, is_mixed=True),
        counts={},
        seed=seed,
        report=lambda _step, _error: True,
    )
    artifact = export(network, valid.inputs()["x"], seed=seed)
    error = error_of(artifact.outputs(valid.inputs()), valid, metric=metric, task=plan.signature.task)
    return replace(artifact, card={**artifact.card, "validation": {"error": error, "rows": len(valid)}, "refit": False})


def widened(plan: Plan) -> Plan:
    """Return a plan with more channels, and weights as they are trained."""
    steps: tuple[Step, ...] = tuple(
        replace(step, coding="float32") if isinstance(step, Convolution | Linear) else step for step in plan.steps
    )
    widths = {step.group_out: round(WIDTH * step.channels_out) for step in steps if isinstance(step, Convolution)}
    return Plan(plan.signature, steps).with_channels(widths)


def opinions(teachers: Sequence[Artifact], rows: Rows, *, mirrored: bool) -> np.ndarray | None:
    """Return what teachers say of rows in the mean, float32, shape (n_rows, n_outputs); None where there are none.

    Args:
        teachers: Files that take the rows.
        rows: Of a network.
        mirrored: Whether the rows are images of which the mirrored ones are asked about too, since those are learned.
    """
    if not teachers:
        return None
    x = np.asarray(rows.x)
    asked = [lambda part, t=teacher: t.outputs({"x": part}) for teacher in teachers]
    found = soft_targets(asked, x)
    if mirrored:
        found = (found + soft_targets(asked, np.ascontiguousarray(x[..., ::-1]))) / 2
    return found
