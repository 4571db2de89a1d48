"""Intervals around measured rates."""

from __future__ import annotations

import math

__all__ = ["wilson"]

Z_95 = 1.959963984540054  # the normal quantile of 0.975


def wilson(errors: int, rows: int) -> tuple[float, float]:
    """Return the 95 % interval of an error rate; it stays in [0, 1] and is honest at 0 errors.

    Args:
        errors: Number of wrong rows.
        rows: Number of rows looked at.

    Returns:
        Lower and upper end, as shares; (0, 1) where no row was looked at.

    Raises:
        ValueError: If there are more errors than rows, or fewer than none.

    Example:
        >>> low, high = wilson(0, 100)
        >>> low, round(high, 3)
        (0.0, 0.037)

    Source: Wilson (1927), Journal of the American Statistical Association 22, 209-212.
    """
    if not 0 <= errors <= rows:
        raise ValueError(f"wilson needs 0 <= errors <= rows, got {errors} and {rows}.")
    if rows == 0:
        return 0.0, 1.0
    rate, square = errors / rows, Z_95 * Z_95
    centre = rate + square / (2 * rows)
    reach = Z_95 * math.sqrt(rate * (1 - rate) / rows + square / (4 * rows * rows))
    scale = 1 + square / rows
    low = 0.0 if errors == 0 else (centre - reach) / scale
    high = 1.0 if errors == rows else (centre + reach) / scale
    return low, high
