"""The hypervolume that a candidate is expected to add, in closed form because its cost is known."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["expected_gain", "staircase"]

MARGIN = 0.1  # of the front's range in log error, by which the reference lies above its worst member
COST_MARGIN = 0.05  # of the range of log cost, by which the end lies right of the largest
LEAST_RANGE = 0.1  # of a front that has hardly any


def staircase(costs: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Return the places of the non-dominated points in order of rising cost; of equal ones the first.

    Example:
        >>> staircase(np.array([3.0, 1.0, 2.0]), np.array([0.1, 0.4, 0.5])).tolist()
        [1, 0]
    """
    order = np.lexsort((errors, costs))
    best = np.minimum.accumulate(errors[order])
    return np.asarray(order[np.append(True, best[1:] < best[:-1])] if len(order) else order)


def expected_gain(
    front_costs: np.ndarray,
    front_errors: np.ndarray,
    costs: np.ndarray,
    mean: np.ndarray,
    spread: np.ndarray,
    reach: np.ndarray | None = None,
) -> np.ndarray:
    """Return the expected growth of the area above the front's staircase of each candidate.

    A step of the front is an interval of cost with the least error that is known there; a candidate gains on the part
    of each step that lies right of its own cost, as much as its error is expected to lie below.

    Args:
        front_costs: Log cost of each member, rising.
        front_errors: Log error of each member, falling.
        costs: Log cost of each candidate.
        mean: Of the log error of each candidate.
        spread: Standard deviation of it.
        reach: Log costs that the last step of the front passes over, where they are not those of the candidates.

    Source: Emmerich, Deutz and Klinkenberg (2011), Hypervolume-based expected improvement: monotonicity properties
    and exact computation; differs in that the cost is known, which leaves one sum over the steps of the front.
    """
    from scipy.special import ndtr

    everything = np.concatenate([front_costs, costs if reach is None else reach])
    end = float(everything.max()) + COST_MARGIN * max(LEAST_RANGE, float(np.ptp(everything)))
    reference = float(front_errors.max()) + MARGIN * max(LEAST_RANGE, float(np.ptp(front_errors)))
    best = np.concatenate([[reference], front_errors])
    starts = np.concatenate([[-math.inf], front_costs])
    ends = np.append(front_costs, end)
    widths = np.maximum(0.0, ends - np.maximum(starts, costs[:, None]))
    z = (best - mean[:, None]) / spread[:, None]
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    improvement = np.maximum(0.0, spread[:, None] * (z * ndtr(z) + density))
    return np.asarray((widths * improvement).sum(axis=1))
