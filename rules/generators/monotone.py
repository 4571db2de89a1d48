"""Directions that the user demands, on models of which one rule decides a row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from rules.generators.binned import EVERY, Box
from rules.generators.examples import Examples

__all__ = ["listed", "repaired"]

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
    if examples.kind == "multinomial" or not _is_directed(examples):
        return values
    pairs = [
        (low, high)
        for low in range(len(boxes))
        for high in range(len(boxes))
        if low != high and _can_rise(examples, dict(boxes[low].sides), dict(boxes[high].sides))
    ]
    return _averaged(values, weights, pairs)


def listed(examples: Examples, boxes: Sequence[Box], values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the values of an ordered list so that no step in a demanded direction goes the wrong way.

    A step up in a rising column can only bring a row into a rule that asks for large values, from rules below it; or
    out of a rule that asks for small ones, to a rule below it. So each rule of the first kind must say at least what
    every rule below it says whose rows could come to it, and each of the second kind at most.

    Args:
        examples: As for `repaired`.
        boxes: In order; every one keeps `Constraints.sign`. The last is the default, without sides.
        values: What each says of the rows that earlier ones leave, float64, shape (n_boxes, n_classes or 1).
        weights: Of those rows, float64, shape (n_boxes,).
    """
    if examples.kind == "multinomial" or not _is_directed(examples):
        return values
    pairs = []
    for place, box in enumerate(boxes):
        sign = examples.constraints.sign(examples.data, box)
        if sign:
            below = [later for later in range(place + 1, len(boxes)) if _may_meet(examples, box, boxes[later])]
            pairs += [(later, place) if sign > 0 else (place, later) for later in below]
    return _averaged(values, weights, pairs)


def _is_directed(examples: Examples) -> bool:
    return any(examples.constraints.monotone.values())


def _averaged(values: np.ndarray, weights: np.ndarray, pairs: Iterable[tuple[int, int]]) -> np.ndarray:
    """Return values of which the first of each pair says no more than the second."""
    asked = values[:, -1].copy()
    known = list(pairs)
    for _ in range(ROUNDS):
        is_calm = True
        for low, high in known:
            if asked[low] > asked[high] + 1e-12:
                both = weights[low] + weights[high]
                mean = (asked[low] * weights[low] + asked[high] * weights[high]) / both if both else asked[low]
                asked[low] = asked[high] = mean
                is_calm = False
        if is_calm:
            break
    for _ in range(len(asked)):
        for low, high in known:
            asked[high] = max(asked[high], asked[low])
    return asked[:, None] if values.shape[1] == 1 else np.stack([1 - asked, asked], axis=1)


def _may_meet(examples: Examples, first: Box, second: Box) -> bool:
    """Say whether a row could be in both boxes once its columns with a direction have changed."""
    theirs = dict(second.sides)
    for column, bits in first.sides:
        held = examples.data.columns[column]
        if not examples.constraints.monotone.get(held.name, 0) and not bits & theirs.get(column, EVERY) & held.universe:
            return False
    return True


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
