"""Stopping a trial after the first of its folds, where its files lie clearly behind the front there."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from engine.front import Front

__all__ = ["FoldRace", "fold_race_for"]

CLEARLY = 1.0  # standard errors of the member's mean error


@final
@dataclass(frozen=True)
class FoldRace:
    """What the front did on the fold that every trial begins with: the same rows, so little is left to chance.

    Args:
        members: In order of rising cost, of each its cost, its error on that fold, its mean error over all folds and
            the standard error of that mean.

    Example:
        >>> race = FoldRace(((1000.0, 0.31, 0.30, 0.01), (4000.0, 0.22, 0.20, 0.01)))
        >>> race.estimate([(2000.0, 0.315)]), round(race.estimate([(2000.0, 0.35)]), 2), race.estimate([(500.0, 0.9)])
        (None, 0.34, None)
    """

    members: tuple[tuple[float, float, float, float], ...]

    def estimate(self, files: Iterable[tuple[float, float]]) -> float | None:
        """Return the mean error to expect of a trial that shall stop, or None where it shall go on.

        It goes on if one of its files is smaller than all members, or not clearly worse than the best member that is no
        larger.

        Args:
            files: Cost and error of each on the first fold; at least one.
        """
        costs = [cost for cost, *_ in self.members]
        expected = []
        for cost, error in files:
            place = bisect_right(costs, cost) - 1
            if place < 0:
                return None
            _, first, mean, spread = self.members[place]
            if not math.isfinite(error) or error - first <= CLEARLY * spread:
                return None  # an error that is no number is told as that of a whole trial
            expected.append(mean + error - first)
        return min(expected)


def fold_race_for(front: Front) -> FoldRace | None:
    """Return the race against a front; None where files are not validated in folds, or none is known.

    Args:
        front: Of the files that are known when a trial is proposed.

    Source: comparing a candidate fold by fold with the best known one and stopping it early follows F-Race (Birattari
    et al., 2002) and SMAC; here there is one comparison, and with the member of the front at the size of each file.
    """
    members = [(point.values[front.cost], point.values) for point in reversed(front.points)]
    if not members or any("last_fold_error" not in values for _, values in members):
        return None
    return FoldRace(tuple((cost, v["last_fold_error"], v["error"], v["error_se"]) for cost, v in members))
