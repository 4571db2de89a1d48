"""Short decimals: the number between two ends that takes the fewest digits, and float32 numbers as texts."""

from __future__ import annotations

import math
import re
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import lru_cache

import numpy as np

__all__ = ["after", "before", "decimal_at_least", "decimal_at_most", "shortest_between", "written"]

FINEST = -60  # the exponent of the smallest step that is tried; float32 ends at 1e-45


def shortest_between(low: float, high: float) -> float:
    """Return the number in [low, high] with the fewest digits; near the middle where several have as few.

    Example:
        >>> shortest_between(17.5, 18.9), shortest_between(0.1234, 0.1262), shortest_between(-1, 5)
        (18.0, 0.125, 0.0)
    """
    if low <= 0 <= high:
        return 0.0
    if math.isinf(low) or math.isinf(high):
        if math.isinf(low) and math.isinf(high):
            return low
        low, high = (low, 10 * low) if low > 0 else (10 * high, high)
    begin, end = Decimal(low), Decimal(high)
    middle = (begin + end) / 2
    for exponent in range(max(begin.adjusted(), end.adjusted()) + 1, FINEST, -1):
        step = Decimal(1).scaleb(exponent)
        first = (begin / step).to_integral_value(ROUND_CEILING)
        last = (end / step).to_integral_value(ROUND_FLOOR)
        if first <= last:
            nearest = min(max((middle / step).to_integral_value(), first), last)
            return float(nearest * step)
    return low


@lru_cache(maxsize=100_000)
def after(value: float) -> float:
    """Return the float32 number that follows."""
    with np.errstate(over="ignore", under="ignore"):
        return float(np.nextafter(np.float32(value), np.float32(math.inf)))


def before(value: float) -> float:
    """Return the float32 number that precedes."""
    return -after(-value)


def written(value: float) -> str:
    """Return a float32 number as the shortest text that is read as the same float32.

    Example:
        >>> written(18.0), written(0.1), written(1e-7)
        ('18', '0.1', '1e-7')
    """
    return _short(str(np.float32(value)))


def decimal_at_least(value: float) -> str:
    """Return the shortest text that is read as this float32, and as a float64 that is not below it.

    `x <= 0.1` over float64 columns that hold float32 numbers needs such a text: 0.1 itself lies below the float32.

    Example:
        >>> decimal_at_least(0.1), decimal_at_least(18)
        ('0.100000002', '18')
    """
    exact = float(np.float32(value))
    if math.isinf(exact) or float(written(exact)) >= exact:
        return written(exact)
    for digits in range(7, 18):
        unit = Decimal(1).scaleb(Decimal(exact).adjusted() - digits)
        text = f"{Decimal(exact).quantize(unit, ROUND_CEILING):f}"
        if np.float32(text) == np.float32(exact) and float(text) >= exact:
            return min(text, _short(repr(float(text))), key=len)
    return _short(repr(exact))


def decimal_at_most(value: float) -> str:
    """Return the shortest text that is read as this float32, and as a float64 that is not above it.

    Example:
        >>> decimal_at_most(0.3), decimal_at_most(0.1)
        ('0.3', '0.1')
    """
    text = decimal_at_least(-value)
    return text[1:] if text.startswith("-") else f"-{text}"


def _short(text: str) -> str:
    """Return a number as Python writes it, without what needs not be there: 18.0 is 18, and 1e+06 is 1e6."""
    return re.sub(r"e\+?(-?)0*", r"e\1", text.removesuffix(".0"))
