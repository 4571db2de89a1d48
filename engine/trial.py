"""Trials and their points: what the study records, one JSON line each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, final

from engine.space import Candidate

__all__ = ["Curve", "Point", "State", "Trial"]

Curve = tuple[tuple[float, float], ...]  # (share of the training, validation error), as reported


class State(StrEnum):
    """How a trial ended. Only COMPLETE, RACED and FAILED trials cost budget."""

    COMPLETE = "complete"
    RACED = "raced"  # stopped: by its learning curve, or its first fold, it would not have reached the front
    FAILED = "failed"  # an exception or a limit inside the trial: data, not a crash
    CACHED = "cached"  # builds the same model as an earlier trial, whose points it shares
    OVERSIZED = "oversized"  # its exact cost breaks the limit: never trained

    @property
    def is_paid(self) -> bool:
        """Whether such a trial cost budget."""
        return self in (State.COMPLETE, State.RACED, State.FAILED)


@final
@dataclass(frozen=True)
class Point:
    """One scored file.

    Args:
        candidate: The candidate that builds this file alone.
        values: Measured on the file: `error` (lower is better), `bytes`, `latency_us`, ...
        sha256: Of the file.
    """

    candidate: Candidate
    values: Mapping[str, float]
    sha256: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the point as plain containers."""
        return {"candidate": self.candidate.genes, "values": dict(self.values), "sha256": self.sha256}

    @staticmethod
    def from_json(entry: Mapping[str, Any]) -> Point:
        """Rebuild a point from `to_json`."""
        return Point(Candidate.of(entry["candidate"]), dict(entry["values"]), entry["sha256"])


@final
@dataclass(frozen=True)
class Trial:
    """One proposal and what became of it.

    Args:
        number: Place in the order of proposals, from 0, without gaps.
        candidate: As proposed.
        state: How it ended.
        points: Scored files; several where one training gives several sizes.
        seconds: Time inside the trial, in seconds.
        seed: Of the training.
        error: Text of the failure.
        twin: Number of the trial that a CACHED one repeats.
        curve: Errors on the way.
        estimate: Final error that a RACED trial was expected to have.
    """

    number: int
    candidate: Candidate
    state: State
    points: tuple[Point, ...] = ()
    seconds: float = 0.0
    seed: int = 0
    error: str = ""
    twin: int | None = None
    curve: Curve = ()
    estimate: float | None = None

    @property
    def is_paid(self) -> bool:
        """Whether the trial cost budget."""
        return self.state.is_paid

    def to_json(self) -> dict[str, Any]:
        """Return the trial as plain containers."""
        entry: dict[str, Any] = {
            "number": self.number,
            "state": self.state.value,
            "candidate": self.candidate.genes,
            "points": [point.to_json() for point in self.points],
            "seconds": round(self.seconds, 4),
            "seed": self.seed,
        }
        if self.error:
            entry["error"] = self.error
        if self.twin is not None:
            entry["twin"] = self.twin
        if self.curve:
            entry["curve"] = [list(report) for report in self.curve]
        if self.estimate is not None:
            entry["estimate"] = self.estimate
        return entry

    @staticmethod
    def from_json(entry: Mapping[str, Any]) -> Trial:
        """Rebuild a trial from `to_json`."""
        return Trial(
            number=entry["number"],
            candidate=Candidate.of(entry["candidate"]),
            state=State(entry["state"]),
            points=tuple(Point.from_json(point) for point in entry["points"]),
            seconds=entry["seconds"],
            seed=entry["seed"],
            error=entry.get("error", ""),
            twin=entry.get("twin"),
            curve=tuple((step, error) for step, error in entry.get("curve", ())),
            estimate=entry.get("estimate"),
        )
