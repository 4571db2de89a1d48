"""Smaller whole numbers that decide alike: for queries that tell the class alone, not how sure it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["smaller"]

MOST_TOTALS = 2**16  # that are compared
LARGEST = 999


def smaller(values: Sequence[np.ndarray], base: float) -> tuple[list[np.ndarray], float]:
    """Return points in the smallest whole numbers found, such that every total keeps its sign.

    All combinations of alternatives are compared, whether or not a row can have them. Where there are too many, or no
    smaller numbers are found, the points come back as they are.

    Args:
        values: What each part adds, by alternative, each of shape (n_alternatives,).
        base: What the sum begins with; a total above 0 speaks for the second class.

    Example:
        >>> points, base = smaller([np.array([0.0, 138.0]), np.array([0.0, 90.0]), np.array([0.0, 75.0])], -100.0)
        >>> [part.tolist() for part in points], base
        ([[0.0, 2.0], [0.0, 1.0], [0.0, 1.0]], -1.0)
    """
    largest = max((float(np.abs(part).max(initial=0)) for part in values), default=0.0)
    if not largest or np.prod([float(len(part)) for part in values]) > MOST_TOTALS:
        return list(values), base
    is_high = _totals(values) + base > 0
    if is_high.all() or not is_high.any():
        return list(values), base
    for most in range(1, min(int(largest), LARGEST + 1)):
        rounded = [np.rint(part * (most / largest)) + 0.0 for part in values]
        totals = _totals(rounded)
        below = float(totals[~is_high].max())
        if below < totals[is_high].min():
            return rounded, -below
    return list(values), base


def _totals(values: Sequence[np.ndarray]) -> np.ndarray:
    made = np.zeros(1)
    for part in values:
        made = np.add.outer(made, part).ravel()
    return made
