"""The family of auto-sklearn's pipelines: which one, and in which coding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

from automl.autosklearn.found import Found
from automl.autosklearn.lower import lower
from automl.autosklearn.settings import AutoSklearnSpace
from automl.table import table_of
from engine.artifact import Artifact
from engine.data import Dataset, Signature
from engine.family import Report
from engine.score import error_of
from engine.space import Candidate, Choice, Space
from engine.trial import Point, Trial

__all__ = ["Pipelines"]


@final
@dataclass(frozen=True)
class Pipelines:
    """auto-sklearn's pipelines on one data set.

    Args:
        settings: Of the space.
        signature: Of the data.
        metric: By which files are scored.
        found: The pipelines.
    """

    settings: AutoSklearnSpace
    signature: Signature
    metric: str
    found: Found

    @cached_property
    def space(self) -> Space:
        """Where candidates come from."""
        places = tuple(range(len(self.found.pipelines)))
        return Space({"pipeline": Choice(places, ordered=True), "coding": Choice(tuple(self.settings.codings))})

    @property
    def portfolio(self) -> Sequence[Candidate]:
        """Every pipeline once, in auto-sklearn's order."""
        coding = self.settings.codings[-1]
        return [Candidate.of({"pipeline": n, "coding": coding}) for n in range(len(self.found.pipelines))]

    def canonical(self, candidate: Candidate) -> Candidate:
        """Every candidate builds another file."""
        return candidate

    def bytes(self, candidate: Candidate) -> None:
        """Trained values decide how long a file is."""

    def macs(self, candidate: Candidate) -> None:
        """Pipelines are not counted in multiply-accumulates."""

    def features(self, candidate: Candidate) -> Sequence[float]:
        """Return what auto-sklearn measured."""
        return (self.found.pipelines[int(candidate["pipeline"])].cost,)

    def prepare(self, data: Dataset, *, seed: int) -> Dataset:
        """Return the data with the one split whose validation rows auto-sklearn has not seen."""
        del seed
        return replace(data, splits=data.splits[:1])

    def build(
        self, candidate: Candidate, data: Dataset, *, fold: int, fidelity: float, seed: int, report: Report
    ) -> Iterator[tuple[Candidate, Artifact]]:
        """Write the pipeline that was trained on the training rows."""
        del fidelity, seed, report
        yield candidate, self._file(candidate, data, "train", fold)

    def finish(
        self,
        candidate: Candidate,
        data: Dataset,
        *,
        teachers: Sequence[Artifact],
        effort: float,  # noqa: ARG002
        max_bytes: int | None,
        seed: int,
        refit: bool,
        own: Artifact | None = None,
    ) -> Artifact:
        """Measure the trial's file; with `refit`, ship the pipeline trained on all rows, if it is no longer."""
        del teachers, seed, own
        valid = data.valid(0)
        first = self._file(candidate, data, "train", 0)
        error = error_of(first.outputs(valid.inputs()), valid, metric=self.metric, task=self.signature.task)
        whole = self._file(candidate, data, "all", 0) if refit else None
        if whole is not None and max_bytes is not None and whole.size > max_bytes:
            whole = None
        artifact = whole or first
        card = {"validation": {"error": error, "rows": len(valid)}, "refit": whole is not None}
        return replace(artifact, card={**artifact.card, **card})

    def describe(self, point: Point, trials: Sequence[Trial]) -> Mapping[str, Any]:
        """Return what a card says of a winner beyond its measurements."""
        del trials
        pipeline = self.found.pipelines[int(point.candidate["pipeline"])]
        steps = [
            {"step": "found by auto-sklearn", "detail": {"cost": pipeline.cost, **pipeline.config}},
            {"step": "values rounded", "detail": str(point.candidate["coding"])},
        ]
        return {"family": "autosklearn", "steps": steps}

    def _file(self, candidate: Candidate, data: Dataset, part: str, fold: int) -> Artifact:
        pipeline = self.found.pipelines[int(candidate["pipeline"])]
        coding, table = str(candidate["coding"]), table_of(data)
        return lower(pipeline, part, coding, self.found.encoding, table, data.valid(fold))
