"""What a plan takes from the training rows: the scale of each column, and that of the target."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from compression.nets.plan import Plan, Rescaling, Standardisation, Step
from engine.data import Rows

__all__ = ["measured"]

LARGEST_EXPONENT = 126  # powers of two beyond are no normal float32
LARGEST_CENTRE = 60_000.0  # float16
SMALLEST_SPREAD = 1e-6  # of the mean: below it float32 values are all the same


def measured(plan: Plan, rows: Rows) -> Plan:
    """Return the plan with the numbers of its rows in its standardisation and rescaling.

    Args:
        plan: Of a network that is still to be trained.
        rows: To train on.
    """
    return replace(plan, steps=tuple(_measured(step, rows) for step in plan.steps))


def _measured(step: Step, rows: Rows) -> Step:
    if isinstance(step, Standardisation) and rows.x is not None:
        columns = [_exponent_and_centre(column) for column in np.asarray(rows.x, np.float64).T]
        return replace(step, exponents=tuple(e for e, _ in columns), centres=tuple(c for _, c in columns))
    if isinstance(step, Rescaling):
        center, spread = _moments(np.asarray(rows.y, np.float64))
        return replace(step, center=float(np.float32(center)), spread=float(np.float32(spread)))
    return step


def _moments(values: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation of the known values; never a spread of 0."""
    known = values[np.isfinite(values)]
    if not len(known):
        return 0.0, 1.0
    center, spread = float(known.mean()), float(known.std())
    return center, spread if spread > SMALLEST_SPREAD * abs(center) else 1.0


def _exponent_and_centre(column: np.ndarray) -> tuple[int, float]:
    center, spread = _moments(column)
    exponent = int(np.clip(-round(math.log2(spread)), -LARGEST_EXPONENT, LARGEST_EXPONENT))
    scaled = np.clip(center * 2.0**exponent, -LARGEST_CENTRE, LARGEST_CENTRE)
    return exponent, float(np.float16(scaled))
