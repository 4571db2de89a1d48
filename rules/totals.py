"""What rules add up to, in whole numbers wherever that is possible: then every export finds the very same total."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

from rules.outputs import Label, Points, Probability
from rules.rule import Calibration

if TYPE_CHECKING:
    from rules.ruleset import RuleSet

__all__ = ["Totals", "totals_of"]

DECIMALS = 6
EXACT = 2**24  # whole numbers up to here are exact in float32, and so are their sums


@final
@dataclass(frozen=True, eq=False)
class Totals:
    """Contributions of the rules of a model, and how a total becomes an answer.

    Args:
        values: What each rule adds, times `scale`, float64, shape (n_rules, n_points or n_classes).
        base: What every total begins with, times `scale`, float64, shape (n_points or n_classes,).
        weights: Weight of each vote, float64, shape (n_rules,), times `scale`.
        scale: The power of ten with which everything is a whole number; 1 where none makes it so.
        is_whole: Whether everything is a whole number.
        calibration: What totals mean, its edges times `scale`.
        n_classes: Number of classes; 0 for regression.
    """

    values: np.ndarray
    base: np.ndarray
    weights: np.ndarray
    scale: int
    is_whole: bool
    calibration: Calibration | None
    n_classes: int

    def answered(self, summed: np.ndarray) -> np.ndarray:
        """Turn totals of points, times `scale`, into values: float64, shape (n_rows, n_classes or 1)."""
        points = summed / self.scale
        if not self.n_classes:
            return points
        if self.n_classes > 2:
            raised = np.exp(points - points.max(axis=1, keepdims=True))
            shares: np.ndarray = raised / raised.sum(axis=1, keepdims=True)
            return shares
        if self.calibration is None:
            with np.errstate(over="ignore"):
                second = 1 / (1 + np.exp(-points[:, 0]))
        else:
            step = np.searchsorted(self.calibration.edges, summed[:, 0], side="right")
            second = np.array(self.calibration.probabilities)[step]
        return np.stack([1 - second, second], axis=1)


def totals_of(engine: RuleSet) -> Totals:
    """Return what the model of a rule set adds up, for the policies `sum` and `vote`."""
    model = [rule for rule in engine.rules if not rule.is_hard]
    width = engine.points if engine.policy == "sum" else max(len(engine.classes), 1)
    values = np.zeros((len(model), width))
    for place, rule in enumerate(model):
        if isinstance(rule.output, Label):
            values[place] = [name == rule.output.name for name in engine.classes]
        elif isinstance(rule.output, Points | Probability):
            values[place] = rule.output.values
        else:
            values[place] = 1 / width
    weights = np.array([rule.weight for rule in model])
    values *= weights[:, None]
    is_sum = engine.policy == "sum" and isinstance(engine.default, Points)
    base = np.array(engine.default.values) if is_sum and isinstance(engine.default, Points) else np.zeros(width)
    edges = np.array(engine.calibration.edges if engine.calibration else ())
    scale = _scale(np.concatenate([values.ravel(), base, edges] + ([] if is_sum else [weights])), values, base)
    factor = scale or 1
    finish = np.rint if scale else np.asarray
    calibration = engine.calibration and Calibration(tuple(finish(edges * factor)), engine.calibration.probabilities)
    return Totals(
        finish(values * factor),
        finish(base * factor),
        finish(weights * factor),
        factor,
        bool(scale),
        calibration,
        len(engine.classes),
    )


def _scale(numbers: np.ndarray, values: np.ndarray, base: np.ndarray) -> int:
    """Return the smallest power of ten that makes all numbers whole and totals exact in float32; 0 for none."""
    largest = float((np.abs(values).sum(axis=0) + np.abs(base)).max(initial=0))
    for decimals in range(DECIMALS + 1):
        factor = 10**decimals
        raised = numbers * factor
        if largest * factor < EXACT and np.allclose(raised, np.rint(raised), rtol=0, atol=1e-6):
            return int(factor)
    return 0
