"""Weighted means of what files answer, chosen on the answers that are known, before anything is trained again."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from engine.answers import Answers
from engine.artifact import Artifact
from engine.data import Dataset, Rows
from engine.front import Front
from engine.score import error_of
from engine.space import Candidate
from engine.trial import Point

__all__ = ["Blend", "Blends"]

STEPS = 8  # of the greedy choice: shares are eighths, or of fewer parts
MEMBERS = 4  # different ones
POOL = 32  # least erring files within a limit, from which one mean is made
CHOSEN_ROWS = 6000  # of the validation rows that tell which file to add
LEAST_GAIN = 0.002  # of the error of the front at this size, below which a mean is not worth its time
SMALLEST_LIMIT = 4096  # bytes
SLACK = 0.95  # of a limit: on all rows files may grow

Errors = Callable[[np.ndarray], float]


@final
@dataclass(frozen=True, eq=False)
class Blend:
    """A weighted mean of files that were tried.

    Args:
        shares: Of each member, above 0, with the sum 1; the largest first, of equal ones by key.
        values: As of a point: `error` (mean over folds), `error_se` and `last_fold_error` where there are several;
            `bytes` is the sum of the members.
        limit_bytes: Within which it was chosen.
        last_answers: To the validation rows of the last fold, float32, shape (n_rows, n_outputs).
        files: That gave these, in the order of the shares; none where one of them is gone.
    """

    shares: Mapping[Candidate, float]
    values: Mapping[str, float]
    limit_bytes: int
    last_answers: np.ndarray
    files: tuple[Artifact, ...]


@final
@dataclass(frozen=True, eq=False)
class Blends:
    """Chooses means for a ladder of sizes, each twice as large as the one before.

    Args:
        answers: Of the files that were tried.
        data: Whose validation rows they are the answers to.
        metric: By which files are scored.
        max_bytes: The top of the ladder; None: twice the largest file.

    Source: Caruana et al. (2004), Ensemble selection from libraries of models, ICML: greedy, with replacement; differs
    in that all members together must keep a limit of bytes.
    """

    answers: Answers
    data: Dataset
    metric: str
    max_bytes: int | None

    def better_than(self, front: Front) -> list[Blend]:
        """Return means that err less than the front, and than smaller means, at their size: smallest first."""
        points = self.answers.points
        found: list[Blend] = []
        for limit in self._limits(points):
            pool = [point for point in points if point.values["bytes"] <= SLACK * limit]
            pool.sort(key=lambda point: (point.values["error"], point.candidate.key))
            within = [point.values["error"] for point in front if point.values["bytes"] <= limit]
            if len(pool) < 2 or not within:
                continue
            blend = self._blend(_greedy(pool[:POOL], self.answers.of, self._quick_error, SLACK * limit), limit)
            least = min([*within, *(other.values["error"] for other in found)])
            if len(blend.shares) > 1 and blend.values["error"] < (1 - LEAST_GAIN) * least:
                found.append(blend)
        return found

    def _limits(self, points: Sequence[Point]) -> list[int]:
        """Return the ladder, smallest first."""
        largest = max((int(point.values["bytes"]) for point in points), default=0)
        top = min(2 * largest, self.max_bytes or 2 * largest)
        return [top >> step for step in reversed(range(max(top // SMALLEST_LIMIT, 1).bit_length()))]

    def _blend(self, counts: Mapping[str, int], limit: int) -> Blend:
        by_key = {point.candidate.key: point for point in self.answers.points}
        total, counts = sum(counts.values()), dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))
        shares = {by_key[key].candidate: count / total for key, count in counts.items()}
        mean = sum(count / total * self.answers.of(by_key[key]) for key, count in counts.items())
        parts = np.split(np.asarray(mean, np.float32), np.cumsum([len(rows) for rows in self._valid])[:-1])
        errors = [self._error(part, rows) for part, rows in zip(parts, self._valid, strict=True)]
        values = {
            "error": float(np.mean(errors)),
            "bytes": float(sum(by_key[key].values["bytes"] for key in counts)),
        }
        if len(errors) > 1:
            values["error_se"] = float(np.std(errors, ddof=1) / math.sqrt(len(errors)))
            values["last_fold_error"] = errors[-1]
        files = [self.answers.file(by_key[key]) for key in counts]
        found = tuple(file for file in files if file is not None)
        return Blend(shares, values, limit, parts[-1], found if len(found) == len(files) else ())

    def _quick_error(self, answers: np.ndarray) -> float:
        """Return the mean error over folds, on some of their rows."""
        return float(np.mean([self._error(answers[places], rows) for places, rows in self._few]))

    def _error(self, answers: np.ndarray, rows: Rows) -> float:
        return error_of(answers, rows, metric=self.metric, task=self.data.signature.task)

    @cached_property
    def _valid(self) -> list[Rows]:
        return [self.data.valid(fold) for fold in range(len(self.data.splits))]

    @cached_property
    def _few(self) -> list[tuple[np.ndarray, Rows]]:
        """Some validation rows of each fold, and where their answers stand."""
        total, start = sum(map(len, self._valid)), 0
        found = []
        for rows in self._valid:
            count = max(1, min(len(rows), CHOSEN_ROWS * len(rows) // total))
            places = np.linspace(0, len(rows) - 1, count).astype(np.int64)
            found.append((start + places, rows.take(places)))
            start += len(rows)
        return found


def _greedy(
    pool: Sequence[Point], told: Callable[[Point], np.ndarray], error: Errors, limit: float
) -> Mapping[str, int]:
    """Return how often each file is taken, by key: one after the other, whichever leaves the mean with least error."""
    answers = {point.candidate.key: told(point) for point in pool}
    sizes = {point.candidate.key: point.values["bytes"] for point in pool}
    taken: Counter[str] = Counter()
    total, best = np.zeros(()), math.inf
    for step in range(STEPS):
        used = sum(sizes[key] for key in taken)
        fitting = [
            key for key in answers if key in taken or (len(taken) < MEMBERS and used + sizes[key] <= limit)
        ]  # in the order of errors, so that the better one is taken of two that do equally well
        errors = {key: error(((total + answers[key]) / (step + 1)).astype(np.float32)) for key in fitting}
        key = min(errors, key=errors.__getitem__)
        if errors[key] >= best:
            break
        best, total = errors[key], total + answers[key]
        taken[key] += 1
    return taken
