"""Weighted means of what files answer, chosen on answers that are known already."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, final

import numpy as np

from engine.artifact import Artifact
from engine.belief import BELIEVED, label_share, shrunk
from engine.data import Dataset, Rows
from engine.errors import ArtifactError
from engine.family import Blending
from engine.front import Front
from engine.score import error_of
from engine.shares import blend_of
from engine.space import Candidate
from engine.trial import Point

__all__ = ["Blend", "Blends", "Told"]

STEPS = 8  # of the greedy choice: shares are eighths, or of fewer parts
MEMBERS = 4  # different ones
POOL = 24  # least erring files within a limit, from which one mean is made
CHOSEN_ROWS = 6000  # of the validation rows that tell which file to add
LEAST_GAIN = 0.002  # of the error of the front at this size, below which a mean is not worth its time
SMALLEST_LIMIT = 4096  # bytes
STEP = math.sqrt(2)  # of the ladder
JOINT = 140  # bytes by which a member makes a mean longer than what it has of its own, at most
COUNTS = (1, 3)  # of the first member at the beginning
STARTS = (1.0, math.sqrt(1 / 2), 1 / 2)  # of a limit: the sizes within which the first member is the best file

_logger = logging.getLogger("lilliput")


class Told(Protocol):
    """Files, and what they answered to validation rows that they did not learn from."""

    @property
    def points(self) -> Sequence[Point]:
        """Those of which answers are known, by key."""
        ...

    def of(self, point: Point) -> np.ndarray:
        """Return the answers of one, float32, shape (n_validation_rows, n_outputs), fold after fold."""
        ...

    def file(self, point: Point) -> Artifact:
        """Return the file of one, that of the last fold."""
        ...


@final
@dataclass(frozen=True, eq=False)
class Blend:
    """A weighted mean of files that were tried.

    Args:
        candidate: As the family calls it.
        shares: Of each member, above 0, with the sum 1; the largest first, of equal ones by key.
        values: As of a point: `error` (mean over folds), `error_se` and `last_fold_error` where there are several;
            `bytes` is what the file has at most.
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

    Which files make a mean is chosen by their errors on validation rows. Where the family has opinions about these
    rows, labels count in that choice only as far as they tell files apart by more than luck; whether a mean is better
    than the front is told by the labels alone.

    Args:
        family: Writes their files.
        answers: Of the files of which means are made.
        data: Whose validation rows they are the answers to.
        metric: By which files are scored.
        max_bytes: The top of the ladder; None: twice the largest file.
        max_macs: Multiply-accumulates of a row through all members of a mean, at most; None: any number.
        is_timed: Whether the time of the search is limited: then no models are trained to have opinions.

    Source: Caruana et al. (2004), Ensemble selection from libraries of models, ICML: greedy, with replacement; differs
    in that all members together must keep a limit of bytes, and in that it begins with files of several sizes.
    """

    family: Blending
    answers: Told
    data: Dataset
    metric: str
    max_bytes: int | None
    max_macs: int | None = None
    is_timed: bool = False
    _files: dict[str, Artifact] = field(default_factory=dict)

    def better_than(self, front: Front) -> list[Blend]:
        """Return means that err less than the front, and than smaller means, at their size: smallest first."""
        points = self.answers.points
        found: list[Blend] = []
        for limit in self._limits(points):
            pool = [point for point in points if point.values["bytes"] + 2 * JOINT <= limit]
            pool.sort(key=lambda point: (point.values["error"], point.candidate.key))
            within = [point.values["error"] for point in front if point.values["bytes"] <= limit]
            if len(pool) < 2 or not within:
                continue
            blend = self._blend(self._chosen(pool[:POOL], limit))
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
                f"{missing} of {len(files)} members are trials' own files: they were not trained again, or became worse"
            )
        return replace(artifact, card={**artifact.card, **card})

    def _limits(self, points: Sequence[Point]) -> list[int]:
        """Return the ladder, smallest first."""
        largest = max((int(point.values["bytes"]) for point in points), default=0)
        twice = 2 * (largest + JOINT)
        limit = float(min(twice, self.max_bytes or twice))
        limits = list[int]()
        while limit >= SMALLEST_LIMIT:
            limits.insert(0, int(limit))
            limit /= STEP
        return limits

    def _chosen(self, pool: Sequence[Point], limit: float) -> Mapping[str, int]:
        """Return how often each file is taken, by key, in the best of several greedy choices.

        One begins with the best file of all; others with the best of those that leave room for a second one, or with
        one that counts several times, so that a worse file may have a small share.
        """
        answers = {point.candidate.key: self.answers.of(point) for point in pool}
        macs = {point.candidate.key: self.family.macs(point.candidate) or 0 for point in pool}
        most = math.inf if self.max_macs is None else self.max_macs

        def fits(keys: Collection[str]) -> bool:
            return len(keys) <= MEMBERS and self._length(keys) <= limit and sum(macs[key] for key in keys) <= most

        def grown(first: str, count: int) -> tuple[float, Counter[str]]:
            taken, total, error = Counter({first: count}), count * answers[first], self._quick_error(answers[first])
            for step in range(count, STEPS):
                fitting = [key for key in answers if fits({*taken, key})]  # the better one of two that do equally well
                errors = {key: self._quick_error((total + answers[key]) / np.float32(step + 1)) for key in fitting}
                key = min(errors, key=errors.__getitem__)
                if errors[key] >= error:
                    break
                error, total = errors[key], total + answers[key]
                taken[key] += 1
            return error, taken

        firsts = [next((p.candidate.key for p in pool if p.values["bytes"] <= share * limit), None) for share in STARTS]
        found = [grown(first, count) for first in dict.fromkeys(firsts) if first is not None for count in COUNTS]
        return min(found, key=lambda choice: choice[0])[1]

    def _blend(self, counts: Mapping[str, int]) -> Blend:
        by_key = {point.candidate.key: point for point in self.answers.points}
        total, counts = sum(counts.values()), dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))
        shares = {by_key[key].candidate: count / total for key, count in counts.items()}
        mean = sum(count / total * self.answers.of(by_key[key]) for key, count in counts.items())
        parts = np.split(np.asarray(mean, np.float32), np.cumsum([len(rows) for rows in self._valid])[:-1])
        errors = [self._error(part, rows) for part, rows in zip(parts, self._valid, strict=True)]
        values = {
            "error": float(np.mean(errors)),
            "bytes": float(self._length(counts)),
        }
        if len(errors) > 1:
            values["error_se"] = float(np.std(errors, ddof=1) / math.sqrt(len(errors)))
            values["last_fold_error"] = errors[-1]
        files = tuple(self._file(by_key[key]) for key in counts)
        return Blend(blend_of(shares), shares, values, parts[-1], tuple(by_key[key] for key in counts), files)

    def _length(self, keys: Collection[str]) -> int:
        """Return how long the file of a mean is, at most: what several members have alike is in it once."""
        together: dict[str, int] = {}
        for key in keys:
            together |= self._pieces[key]
        return sum(together.values()) + JOINT * len(keys)

    @cached_property
    def _pieces(self) -> dict[str, Mapping[str, int]]:
        return {point.candidate.key: self.family.pieces(self._file(point)) for point in self.answers.points}

    def _file(self, point: Point) -> Artifact:
        """Return the file of a point, one object for all means that have it: it is opened once."""
        if point.candidate.key not in self._files:
            self._files[point.candidate.key] = self.answers.file(point)
        return self._files[point.candidate.key]

    def _quick_error(self, answers: np.ndarray) -> float:
        """Return the mean error over folds, on some of their rows, by labels as far as they are believed."""
        return float(np.mean([self._error(answers[places], rows) for places, rows in self._few]))

    def _error(self, answers: np.ndarray, rows: Rows) -> float:
        return error_of(answers, rows, metric=self.metric, task=self.data.signature.task)

    @cached_property
    def _valid(self) -> list[Rows]:
        return [self.data.valid(fold) for fold in range(len(self.data.splits))]

    @cached_property
    def _few(self) -> list[tuple[np.ndarray, Rows]]:
        """Some validation rows of each fold, and where answers to them stand; with opinions, one a likely class."""
        total, start = sum(map(len, self._valid)), 0
        opinions, share = self._believed
        found = []
        for rows in self._valid:
            count = max(1, min(len(rows), CHOSEN_ROWS * len(rows) // total))
            places = np.linspace(0, len(rows) - 1, count).astype(np.int64)
            some = rows.take(places)
            if opinions is not None:
                again, some = shrunk(some, opinions[start + places], share)
                places = places[again]
            found.append((start + places, some))
            start += len(rows)
        return found

    @cached_property
    def _believed(self) -> tuple[np.ndarray | None, float]:
        """Opinions about the validation rows, fold after fold, and how much labels count against them."""
        points = self.answers.points
        is_asked = self.metric in BELIEVED
        opinions = self.family.opinions(self.data, points, trains=not self.is_timed) if is_asked else None
        if opinions is None:
            return None, 1.0
        y = np.concatenate([np.asarray(rows.y) for rows in self._valid])
        share = label_share((self.answers.of(point) for point in points), opinions, y)
        return opinions, share
