"""Weighted means of what files answer, chosen on the answers that are known, before anything is trained again."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, final

import numpy as np

from engine.answers import Answers
from engine.artifact import Artifact
from engine.data import Dataset, Rows
from engine.errors import ArtifactError
from engine.family import Blending
from engine.front import Front
from engine.score import error_of
from engine.space import Candidate
from engine.trial import Point

__all__ = ["Blend", "Blends"]

STEPS = 8  # of the greedy choice: shares are eighths, or of fewer parts
MEMBERS = 4  # different ones
POOL = 24  # least erring files within a limit, from which one mean is made
CHOSEN_ROWS = 6000  # of the validation rows that tell which file to add
LEAST_GAIN = 0.002  # of the error of the front at this size, below which a mean is not worth its time
SMALLEST_LIMIT = 4096  # bytes
STEP = math.sqrt(2)  # of the ladder

Errors = Callable[[np.ndarray], float]

_logger = logging.getLogger("lilliput")


@final
@dataclass(frozen=True, eq=False)
class Blend:
    """A weighted mean of files that were tried.

    Args:
        candidate: As the family calls it.
        shares: Of each member, above 0, with the sum 1; the largest first, of equal ones by key.
        values: As of a point: `error` (mean over folds), `error_se` and `last_fold_error` where there are several;
            `bytes` is the sum of the members.
        last_answers: To the validation rows of the last fold, float32, shape (n_rows, n_outputs).
        points: Of the members, in the order of the shares.
        files: Of them, of the last fold.
    """

    candidate: Candidate
    shares: Mapping[Candidate, float]
    values: Mapping[str, float]
    last_answers: np.ndarray
    points: tuple[Point, ...]
    files: tuple[Artifact, ...]


@final
@dataclass(frozen=True, eq=False)
class Blends:
    """Chooses means for a ladder of sizes, each 1.4 times as large as the one before.

    Args:
        family: Writes their files.
        answers: Of the files that were tried.
        data: Whose validation rows they are the answers to.
        metric: By which files are scored.
        max_bytes: The top of the ladder; None: twice the largest file.

    Source: Caruana et al. (2004), Ensemble selection from libraries of models, ICML: greedy, with replacement; differs
    in that all members together must keep a limit of bytes.
    """

    family: Blending
    answers: Answers
    data: Dataset
    metric: str
    max_bytes: int | None
    _files: dict[str, Artifact] = field(default_factory=dict)

    def better_than(self, front: Front) -> list[Blend]:
        """Return means that err less than the front, and than smaller means, at their size: smallest first."""
        points = self.answers.points
        found: list[Blend] = []
        for limit in self._limits(points):
            pool = [point for point in points if point.values["bytes"] <= limit]
            pool.sort(key=lambda point: (point.values["error"], point.candidate.key))
            within = [point.values["error"] for point in front if point.values["bytes"] <= limit]
            if len(pool) < 2 or not within:
                continue
            blend = self._blend(_greedy(pool[:POOL], self.answers.of, self._quick_error, limit))
            least = min([*within, *(other.values["error"] for other in found)])
            if len(blend.shares) > 1 and blend.values["error"] < (1 - LEAST_GAIN) * least:
                found.append(blend)
        return found

    def file(self, blend: Blend, finished: Mapping[str, Artifact]) -> Artifact | None:
        """Return the file of a mean of finished files, and of trials' own where there was no time to train them again.

        Args:
            blend: As chosen here.
            finished: By the key of their candidates.

        Returns:
            None if the members cannot be one file, or that of all rows is too long.
        """
        files = [finished.get(p.candidate.key, own) for p, own in zip(blend.points, blend.files, strict=True)]
        try:
            artifact = self.family.join(blend.candidate, self.data, files=files, answers=blend.last_answers)
        except ArtifactError as error:
            _logger.warning("A mean of %d files is left out of the front: %s", len(files), error)
            return None
        if self.max_bytes is not None and artifact.size > self.max_bytes:
            why = f"it has {artifact.size:,} bytes, more than max_bytes={self.max_bytes:,}."
            _logger.warning("A mean of %d files is left out of the front: %s", len(files), why)
            return None
        card: dict[str, Any] = {"mean_of": {member.key: share for member, share in blend.shares.items()}}
        missing = sum(member not in finished for member in card["mean_of"])
        card["finished"] = not missing
        if missing:
            card["why_not_finished"] = (
                f"{missing} of {len(files)} members are trials' own files: they were not trained again"
            )
        return replace(artifact, card={**artifact.card, **card})

    def _limits(self, points: Sequence[Point]) -> list[int]:
        """Return the ladder, smallest first."""
        largest = max((int(point.values["bytes"]) for point in points), default=0)
        limit = float(min(2 * largest, self.max_bytes or 2 * largest))
        limits = list[int]()
        while limit >= SMALLEST_LIMIT:
            limits.insert(0, int(limit))
            limit /= STEP
        return limits

    def _blend(self, counts: Mapping[str, int]) -> Blend:
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
        files = tuple(self._file(by_key[key]) for key in counts)
        return Blend(self.family.blend(shares), shares, values, parts[-1], tuple(by_key[key] for key in counts), files)

    def _file(self, point: Point) -> Artifact:
        """Return the file of a point, one object for all means that have it: it is opened once."""
        if point.candidate.key not in self._files:
            self._files[point.candidate.key] = self.answers.file(point)
        return self._files[point.candidate.key]

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
