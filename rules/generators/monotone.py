"""Directions that the user demands, on models of which one rule applies to a row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rules.generators.binned import EVERY, Box
from rules.generators.examples import Examples

__all__ = ["repaired"]

ROUNDS = 500


def repaired(examples: Examples, boxes: Sequence[Box], values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the values of disjoint boxes so that no step in a demanded direction goes the wrong way.

    Args:
        examples: Whose constraints name directions; without any, or for more than two classes, nothing changes.
        boxes: Disjoint.
        values: What each says, float64, shape (n_boxes, n_classes or 1).
        weights: Of the rows in each, float64, shape (n_boxes,).

    Returns:
        The nearest values found by averaging offending pairs, then made exactly monotone.
    """
    directions = examples.constraints.monotone
    if examples.kind == "multinomial" or not any(direction for direction in directions.values()):
        return values
    pairs = [
        (low, high)
        for low in range(len(boxes))
        for high in range(len(boxes))
        if low != high and _can_rise(examples, dict(boxes[low].sides), dict(boxes[high].sides))
    ]
    asked = values[:, -1].copy()
    for _ in range(ROUNDS):
        is_calm = True
        for low, high in pairs:
            if asked[low] > asked[high] + 1e-12:
                both = weights[low] + weights[high]
                mean = (asked[low] * weights[low] + asked[high] * weights[high]) / both if both else asked[low]
                asked[low] = asked[high] = mean
                is_calm = False
        if is_calm:
            break
    for _ in range(len(boxes)):
        for low, high in pairs:
            asked[high] = max(asked[high], asked[low])
    return asked[:, None] if values.shape[1] == 1 else np.stack([1 - asked, asked], axis=1)


def _can_rise(examples: Examples, low: dict[int, int], high: dict[int, int]) -> bool:
    """Say whether a row of the first box can come into the second by steps in demanded directions alone."""
    is_moved = False
    for column, held in enumerate(examples.data.columns):
        here, there = low.get(column, EVERY) & held.universe, high.get(column, EVERY) & held.universe
        if here & there:
            continue
        direction = examples.constraints.monotone.get(held.name, 0)
        known = (1 << (len(held.edges) + 1)) - 1
        if not direction or not here & known or not there & known:
            return False
        is_above = _lowest(there & known) > _lowest(here & known)
        if is_above != (direction > 0):
            return False
        is_moved = True
    return is_moved


def _lowest(bits: int) -> int:
    return (bits & -bits).bit_length() - 1
