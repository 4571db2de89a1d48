"""Which members of a front are trained long, and how many of them while there is time."""

from __future__ import annotations

from collections.abc import Sequence

from engine.front import Front
from engine.trial import Point

__all__ = ["count_in_time", "spread"]


def spread(front: Front, count: int) -> list[Point]:
    """Choose members spread over the sizes: both ends, and then where the gap in log size is widest.

    Args:
        front: To choose from.
        count: How many, at most.

    Returns:
        Members in the order of the front: the most accurate one first, and always among them.
    """
    if len(front) <= count:
        return list(front.points)
    chosen = [0, len(front) - 1][:count]
    sizes = [max(point.values[front.cost], 1e-9) for point in front]
    while len(chosen) < count:
        rest = [number for number in range(len(front)) if number not in chosen]
        far = {n: min(abs(_ratio(sizes[n], sizes[c])) for c in chosen) for n in rest}
        chosen.append(max(rest, key=lambda number: (far[number], -number)))
    return [front.points[number] for number in sorted(chosen)]


def _ratio(first: float, second: float) -> float:
    return max(first, second) / min(first, second)


def count_in_time(costs: Sequence[float], left: float, slots: int) -> int:
    """Return how many tasks, started in this order as slots get free, end before the time is over.

    Args:
        costs: Seconds of each task, rising.
        left: Seconds until the time is over.
        slots: Tasks at once.

    Example:
        >>> count_in_time([1.0, 2.0, 4.0], left=3.5, slots=2)
        2
    """
    ends = [0.0] * slots
    for count, cost in enumerate(costs):
        if ends[0] + cost >= left:
            return count
        ends = sorted([ends[0] + cost, *ends[1:]])
    return len(costs)
