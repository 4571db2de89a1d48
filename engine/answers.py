"""Files of trials and what they answered to validation rows: kept beside the record, for means of several files."""

from __future__ import annotations

import bisect
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np

from engine.artifact import Artifact
from engine.trial import Point

__all__ = ["Answers"]

OCTAVE_MEMBERS = 8  # kept of those between a length and twice that length

Rank = tuple[float, str]  # error and key


@final
@dataclass
class Answers:
    """The answers of the least erring files of each length; which these are does not depend on the order of trials.

    Args:
        folder: Where they lie.

    Example:
        >>> import tempfile
        >>> from engine.space import Candidate
        >>> answers = Answers(Path(tempfile.mkdtemp()))
        >>> point = Point(Candidate.of({"w": 1}), {"error": 0.5, "bytes": 300.0})
        >>> answers.keep(point, np.zeros((2, 1), np.float32), Artifact(b"of the last fold"))
        >>> [found.candidate["w"] for found in answers.points], answers.of(point).shape
        ([1], (2, 1))
    """

    folder: Path
    _ranks: dict[int, list[Rank]] = field(default_factory=dict)  # by octave, the least error first
    _points: dict[str, Point] = field(default_factory=dict)

    @property
    def points(self) -> list[Point]:
        """Those of which answers are kept, by key."""
        return [self._points[key] for key in sorted(self._points)]

    def of(self, point: Point) -> np.ndarray:
        """Return what is kept of a point, float32, shape (n_validation_rows, n_outputs), fold after fold."""
        return np.asarray(np.load(self._place(point.candidate.key), allow_pickle=False))

    def file(self, point: Point) -> Artifact:
        """Return the file of a point, that of the last fold."""
        place = self._place(point.candidate.key)
        return Artifact(place.with_suffix(".onnx").read_bytes(), json.loads(place.with_suffix(".json").read_text()))

    def keep(self, point: Point, answers: np.ndarray, artifact: Artifact) -> None:
        """Keep a new file and its answers for as long as it is among the best of its length."""
        if self._enters(point):
            self.folder.mkdir(parents=True, exist_ok=True)
            place, waiting = self._place(point.candidate.key), self.folder / f".{os.getpid()}.npy"
            place.with_suffix(".onnx").write_bytes(artifact.model)
            place.with_suffix(".json").write_text(json.dumps(dict(artifact.card)))
            np.save(waiting, answers.astype(np.float32), allow_pickle=False)
            os.replace(waiting, place)  # last: where there are answers, the others are whole
            self._admit(point)

    def recall(self, point: Point) -> None:
        """Take note of a file of the record whose answers may be there."""
        if (
            self._enters(point)
            and self._place(point.candidate.key).exists()
            and self.file(point).sha256 == point.sha256
        ):
            self._admit(point)

    def _place(self, key: str) -> Path:
        return self.folder / f"{key}.npy"

    def _enters(self, point: Point) -> bool:
        rank, ranks = _rank(point), self._ranks.get(_octave(point), [])
        is_among = len(ranks) < OCTAVE_MEMBERS or rank < ranks[-1]
        return is_among and point.candidate.key not in self._points and math.isfinite(rank[0])

    def _admit(self, point: Point) -> None:
        ranks = self._ranks.setdefault(_octave(point), [])
        bisect.insort(ranks, _rank(point))
        self._points[point.candidate.key] = point
        if len(ranks) > OCTAVE_MEMBERS:
            _, key = ranks.pop()
            del self._points[key]
            for ending in (".npy", ".onnx", ".json"):
                self._place(key).with_suffix(ending).unlink(missing_ok=True)


def _rank(point: Point) -> Rank:
    return point.values["error"], point.candidate.key


def _octave(point: Point) -> int:
    return int(point.values["bytes"]).bit_length()
