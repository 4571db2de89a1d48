"""Pareto fronts over points: dominance, hypervolume, knee, and the answers people ask for."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from engine.errors import StudyError
from engine.trial import Point

__all__ = ["Front", "hypervolume", "is_dominated", "knee_place"]


def is_dominated(point: tuple[float, float], others: Iterable[tuple[float, float]]) -> bool:
    """Say whether one of `others` is at least as good on both axes and better on one (lower is better)."""
    error, cost = point
    return any(e <= error and c <= cost and (e < error or c < cost) for e, c in others)


def hypervolume(pairs: Sequence[tuple[float, float]], reference: tuple[float, float]) -> float:
    """Return the exact area that the pairs dominate below a reference point; higher is better.

    Example:
        >>> hypervolume([(0.5, 1.0), (0.25, 2.0)], (1.0, 4.0))
        2.0
    """
    total, best = 0.0, reference[0]
    inside = sorted((cost, error) for error, cost in pairs if error < reference[0] and cost < reference[1])
    for cost, error in inside:
        if error < best:
            total += (best - error) * (reference[1] - cost)
            best = error
    return total


def knee_place(pairs: Sequence[tuple[float, float]]) -> int:
    """Return which (error, cost) lies farthest toward the corner of least error and least cost.

    Both axes count by ratio between the ends: halving the error is worth as much at 10 % as at 1 %. An error of zero
    counts as half of the smallest other one.
    """
    floor = min((error for error, _ in pairs if error > 0), default=1.0) / 2
    logs = np.log([(max(error, floor), max(cost, 1e-9)) for error, cost in pairs])
    span = np.ptp(logs, axis=0)
    scaled = (logs - logs.min(axis=0)) / np.where(span > 0, span, 1.0)
    return int(np.argmin(scaled.sum(axis=1)))


@final
@dataclass(frozen=True)
class Front:
    """Points none of which is worse than another on both axes, in order of falling cost and rising error.

    Args:
        points: The members, most accurate first.
        cost: Name of the second axis.
        floor: Cost below which less is worth nothing: of the points at or below it only the most accurate is a member.

    Example:
        >>> from engine.space import Candidate
        >>> points = [Point(Candidate.of({"w": w}), {"error": 1 / w, "bytes": w}) for w in (1, 2, 4)]
        >>> Front.of(points).best_under(bytes=3).values["bytes"]
        2
    """

    points: tuple[Point, ...]
    cost: str = "bytes"
    floor: float = 0.0

    @staticmethod
    def of(points: Iterable[Point], *, cost: str = "bytes", floor: float = 0.0) -> Front:
        """Return the front of some points; of equal points the one with the smallest key stays."""
        members: list[Point] = []
        finite = (point for point in points if math.isfinite(point.values["error"]))  # sorting needs numbers
        for point in sorted(finite, key=lambda p: (max(p.values[cost], floor), *_rank(p, cost))):
            if not members or point.values["error"] < members[-1].values["error"]:
                members.append(point)
        return Front(tuple(reversed(members)), cost, floor)

    def joined_by(self, points: Iterable[Point]) -> Front:
        """Return the front of the members and some points: this very front where none of them belongs to it.

        A point costs a search among the members, not a sort of all of them.
        """
        members = list(self.points)
        joined = [_join(members, point, self.cost, self.floor) for point in points]
        return replace(self, points=tuple(members)) if any(joined) else self

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[Point]:
        return iter(self.points)

    def pairs(self) -> list[tuple[float, float]]:
        """Return (error, cost) of each member."""
        return [(point.values["error"], point.values[self.cost]) for point in self.points]

    def hypervolume(self, *, error: float = 1.0, cost: float) -> float:
        """Return the dominated area in (error, log10 cost) below a reference, as a share of one unit each.

        Sizes are compared by ratio, as people do: from 1 to 2 kB counts as much as from 10 to 20 kB.
        """
        pairs = [(e, math.log10(max(c, self.floor, 1e-9))) for e, c in self.pairs()]
        return hypervolume(pairs, (error, math.log10(cost)))

    def knee(self) -> Point:
        """Return the member that lies farthest toward the corner of least error and least cost, both by ratio.

        Raises:
            StudyError: If the front is empty.
        """
        return self.points[knee_place(self._filled().pairs())]

    def best_under(self, *, bytes: int) -> Point:
        """Return the most accurate member of at most this many bytes.

        Raises:
            StudyError: If every member is larger; it says how large the smallest is.
        """
        fitting = [point for point in self._filled().points if point.values["bytes"] <= bytes]
        if not fitting:
            smallest = min(point.values["bytes"] for point in self.points)
            raise StudyError(f"No member of the front is within {bytes} bytes; the smallest has {smallest:.0f}.")
        return min(fitting, key=lambda point: point.values["error"])

    def smallest_within(self, *, error: float) -> Point:
        """Return the smallest member with at most this error.

        Raises:
            StudyError: If every member errs more; it says how little the best errs.
        """
        fitting = [point for point in self._filled().points if point.values["error"] <= error]
        if not fitting:
            best = min(point.values["error"] for point in self.points)
            raise StudyError(f"No member of the front has an error of at most {error}; the best has {best:.4f}.")
        return min(fitting, key=lambda point: point.values["bytes"])

    def _filled(self) -> Front:
        if not self.points:
            raise StudyError("The front is empty: no trial has given a file yet.")
        return self


def _join(members: list[Point], point: Point, cost: str, floor: float) -> bool:
    """Put a point among members in order of falling cost, in place of those that it dominates, if it belongs there."""
    error, size = point.values["error"], max(point.values[cost], floor)
    place = bisect.bisect_left(members, -size, key=lambda member: -max(member.values[cost], floor))
    beside = members[place : place + 1]  # the most accurate member that is no larger
    if not math.isfinite(error) or (beside and _rank(beside[0], cost) <= _rank(point, cost)):
        return False
    start = bisect.bisect_left(members, error, hi=place, key=lambda member: member.values["error"])
    end = place + sum(max(member.values[cost], floor) == size for member in beside)
    members[start:end] = [point]
    return True


def _rank(point: Point, cost: str) -> tuple[float, float, str, str]:
    return point.values["error"], point.values[cost], point.candidate.key, point.sha256
