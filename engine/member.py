"""A member of a finished front: which file is shipped, and what it is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from engine.artifact import Artifact
from engine.blends import Blend, Blends
from engine.trial import Point

__all__ = ["Member", "Members", "means", "shipped"]


@final
@dataclass(frozen=True)
class Member:
    """A member of the finished front.

    Args:
        point: On validation rows.
        artifact: The file.
        searched: Its point as the search scored it; of a mean of several files, as their answers told it.
        answers: Of a mean, to the validation rows, by files that did not learn from them.
    """

    point: Point
    artifact: Artifact
    searched: Point
    answers: np.ndarray | None = None


def shipped(
    point: Point, own: Artifact, finished: Artifact | None, *, cost: str, metric: str, failure: str = ""
) -> Member:
    """Return the member that ships the finished file, unless it is clearly worse on validation rows.

    Args:
        point: Of the front.
        own: The trial's file.
        finished: None where it was not trained again.
        cost: Of the front.
        metric: By which files are scored; only a share of wrong rows has the standard error that is allowed for.
        failure: Of the long training, if it failed.
    """
    if finished is None:
        why = {"why_not_finished": f"its long training failed: {failure}"} if failure else {}
        return Member(point, replace(own, card={**own.card, "finished": False, **why}), point)
    validation = finished.card["validation"]
    error, rows = float(validation["error"]), int(validation["rows"]) if metric == "accuracy" else 0
    own_error = point.values.get("last_fold_error", point.values["error"])
    margin = (max(own_error * (1 - own_error), 0.0) / rows) ** 0.5 if rows else 0.0
    if error > own_error + margin:
        note = f"trained long it had {error:.4f}, worse than the trial's {own_error:.4f}: the trial's file is shipped"
        return Member(point, replace(own, card={**own.card, "finished": False, "why_not_finished": note}), point)
    # With folds the trial's error is a mean over them; long training moves it by what it moves the last one.
    moved = max(min(error, 0.0), point.values["error"] + error - own_error)
    values = {**point.values, "error": moved, "bytes": float(finished.size)}
    if cost in finished.card and cost != "bytes":  # one that the family tells
        values[cost] = float(finished.card[cost])
    if "last_fold_error" not in values:
        values.pop("error_se", None)
    card = {**finished.card, "finished": True}
    return Member(Point(point.candidate, values, finished.sha256), replace(finished, card=card), point)


def means(blends: Blends, chosen: Sequence[Blend], finished: Mapping[str, Artifact]) -> list[Member]:
    """Return chosen means as members; one that cannot be one file is left out.

    Args:
        blends: That chose them.
        chosen: Of it.
        finished: Files that were trained again, by the key of their candidates.
    """
    members = []
    for blend in chosen:
        artifact = blends.file(blend, finished)
        if artifact is not None:
            point = Point(blend.candidate, {**blend.values, "bytes": float(artifact.size)}, artifact.sha256)
            members.append(Member(point, artifact, Point(blend.candidate, blend.values), blend.last_answers))
    return members


@final
@dataclass(frozen=True, eq=False)
class Members:
    """Finished files and what they answer to validation rows that none of them learned from, for means of them.

    Args:
        found: The members.
        answers: Of each to the validation rows, by the key of its candidate.
    """

    found: Sequence[Member]
    answers: Mapping[str, np.ndarray]

    @property
    def points(self) -> list[Point]:
        """All of them, by key."""
        return sorted((member.point for member in self.found), key=lambda point: point.candidate.key)

    def of(self, point: Point) -> np.ndarray:
        """Return the answers of one, float32, shape (n_validation_rows, n_outputs)."""
        return self.answers[point.candidate.key]

    def file(self, point: Point) -> Artifact:
        """Return the file of one."""
        return next(member.artifact for member in self.found if member.point is point)
