"""The family of tabular models: from genes to files with their preparation in them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import numpy as np

from automl.describe import describe
from automl.inspection import inspected, judged
from automl.lesson import Lesson
from automl.models.registry import fit
from automl.monotone import check_directions
from automl.portfolio import portfolio
from automl.space import MONOTONE, SCALES, TabularSettings, tabular_space
from automl.table import table_of
from automl.targets import Targets
from automl.teacher import EVERYTHING, LEAST_FOLDS, opinions
from automl.writing import Paper, write
from compression.mean import mean_file, pieces
from engine.artifact import Artifact
from engine.data import Dataset, Signature
from engine.errors import ArtifactError, DataError
from engine.family import Means, Report
from engine.score import error_of
from engine.shares import shares_of
from engine.space import Candidate, Space
from engine.trial import Point, Trial

__all__ = ["Tables", "check_signature"]

CHECKED_ROWS = 4000  # of the validation rows, on which files of trials are compared with their models
SHRINKS = (
    1.0,
    0.97,
    0.93,
    0.88,
    0.8,
    0.7,
    0.5,
    0.3,
    0.1,
    0.05,
)  # of the trees, where a file trained on more rows is too long
SHORTENED = ("boosting", "forest", "extra", "oblivious")


@final
@dataclass(frozen=True)
class Tables:
    """Tabular models, one signature.

    Args:
        settings: Of the space.
        signature: Of the data.
        metric: By which files are scored.
        seed: Of everything random: one training gives several sizes, so trials have no seed of their own.
        monotone: Column and direction, in the order of the columns.

    Raises:
        DataError: If the data are no table.
    """

    settings: TabularSettings
    signature: Signature
    metric: str
    seed: int = 0
    monotone: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        check_signature(self.signature)

    @property
    def families(self) -> tuple[str, ...]:
        """Those that are searched: with a direction to keep, those that can."""
        asked = self.settings.families
        return tuple(name for name in asked if not self.monotone or name in MONOTONE) or ("constant",)

    @cached_property
    def space(self) -> Space:
        """Where candidates come from."""
        return tabular_space(self.families, self.signature)

    @cached_property
    def portfolio(self) -> Sequence[Candidate]:
        """Candidates that do well on most tables, fall-backs first."""
        return portfolio(self.space)

    def canonical(self, candidate: Candidate) -> Candidate:
        """Return the representative of all candidates that build the same model."""
        genes = candidate.genes
        if genes.get("pieces", 1) != 1 and genes["scale"] != SCALES[0] and not genes["crosses"]:
            return candidate.replace(scale=SCALES[0])  # nothing is scaled
        if candidate["family"] != "ensemble":
            return candidate
        third = candidate["ensemble.third"]
        if third == "none":
            return candidate
        names = sorted(str(candidate[f"ensemble.{place}"]) for place in ("first", "second", "third"))
        members = dict(zip(("ensemble.first", "ensemble.second", "ensemble.third"), names, strict=True))
        return Candidate.of({**genes, **members, "ensemble.share": 0.5})  # three have equal shares

    @property
    def means_of(self) -> Means:
        """Means are made of what was tried, where ensembles are searched."""
        return "tried" if "ensemble" in self.families else "nothing"

    def pieces(self, file: Artifact) -> Mapping[str, int]:
        """Return what a file is made of: bytes by content."""
        return pieces(file.model)

    def opinions(self, data: Dataset, points: Sequence[Point], *, trains: bool) -> np.ndarray | None:
        """Return what the teacher says of validation rows of several folds, about classes, if it taught anybody."""
        if self.signature.task != "classification" or len(data.splits) < LEAST_FOLDS:
            return None
        if not any(_taught(point.candidate) for point in points):
            return None
        told = opinions(data, EVERYTHING, self.seed, lambda: trains)
        found = None if told is None else told[np.concatenate([np.asarray(split.valid) for split in data.splits])]
        return None if found is None or np.isnan(found).any() else found

    def join(self, blend: Candidate, data: Dataset, *, files: Sequence[Artifact], answers: np.ndarray) -> Artifact:
        """Return the file of a mean; of its importance of columns, the mean of that of its members."""
        shares = shares_of(blend)
        weights, valid = list(shares.values()), data.valid(-1)
        paper = Paper.of(table_of(data), _few(data.splits[-1].valid))
        model = mean_file([file.model for file in files], weights)
        expected = sum(share * paper.answers(file.model) for share, file in zip(weights, files, strict=True))
        paper.check(np.asarray(expected), paper.answers(model))
        error = error_of(answers, valid, metric=self.metric, task=self.signature.task)
        told: dict[str, Any] = {
            "description": "mean of " + ", ".join(f"{m['family']} ({share:.0%})" for m, share in shares.items()),
            "parameters": sum(int(file.card.get("parameters", 0)) for file in files),
            "coding": ", ".join(dict.fromkeys(str(name) for f in files for name in str(f.card["coding"]).split(", "))),
            "validation": {"error": error, "rows": len(valid)},
            "refit": all(file.card.get("refit", False) for file in files),
        }
        known = [
            (share, file.card["importance"])
            for share, file in zip(weights, files, strict=True)
            if "importance" in file.card
        ]
        if known:
            whole = sum(share for share, _ in known)
            found = {name: sum(share * own.get(name, 0.0) for share, own in known) / whole for name in known[0][1]}
            told["importance"] = dict(sorted(found.items(), key=lambda entry: -entry[1]))
        told |= judged(answers, valid, self.signature)
        return self._directed(Artifact(model, told), paper)

    def bytes(self, candidate: Candidate) -> None:
        """Trained values decide how long a file is."""

    def macs(self, candidate: Candidate) -> None:
        """Models of tables are not counted in multiply-accumulates."""

    def features(self, candidate: Candidate) -> Sequence[float]:
        """Nothing is known but the genes."""
        del candidate
        return ()

    def prepare(self, data: Dataset, *, seed: int) -> Dataset:
        """Return the data; the first trial that is taught makes the teacher, once, and keeps what it says for all."""
        del seed
        return data

    def build(
        self, candidate: Candidate, data: Dataset, *, fold: int, fidelity: float, seed: int, report: Report
    ) -> Iterator[tuple[Candidate, Artifact]]:
        """Train, compact, write; one training of trees yields a ladder of sizes."""
        del seed
        split = data.splits[fold]
        lesson = self._lesson(candidate, data, fold, lambda: report(0.5, float("nan")))
        lesson = replace(lesson, fidelity=fidelity)
        paper = Paper.of(lesson.table, _few(split.valid))
        for number, fitted in enumerate(fit(lesson, candidate.genes)):
            if number and not lesson.goes_on():
                return
            artifact = write(fitted, paper)
            check_directions(artifact, paper, self.monotone)
            yield candidate.replace(**fitted.genes), artifact
        report(1.0, float("nan"))

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
        """Measure the trial's file on the last fold; with `refit`, ship what is trained in the same way on all rows."""
        del seed, teachers  # the space trains its own teacher
        paper = Paper.of(table_of(data), np.asarray(data.splits[-1].valid))
        last = len(data.splits) - 1
        first = own or self._alone(candidate, self._lesson(candidate, data, last), paper, max_bytes)
        if first is None:
            raise ArtifactError(f"No file of {candidate['family']} with these genes has {max_bytes} bytes or less.")
        whole = self._alone(candidate, self._lesson(candidate, data, EVERYTHING), paper, max_bytes) if refit else None
        valid = data.valid(-1)
        error = error_of(first.outputs(valid.inputs()), valid, metric=self.metric, task=self.signature.task)
        card: dict[str, Any] = {"validation": {"error": error, "rows": len(valid)}, "refit": whole is not None}
        card |= inspected(first, valid, self.signature, metric=self.metric)  # the one that did not see these rows
        artifact = whole or first
        return self._directed(replace(artifact, card={**artifact.card, **card}), paper)

    def _directed(self, artifact: Artifact, paper: Paper) -> Artifact:
        """Return a file with the directions that it keeps in its card."""
        directions = check_directions(artifact, paper, self.monotone)
        return replace(artifact, card={**artifact.card, "monotone": directions}) if directions else artifact

    def describe(self, point: Point, trials: Sequence[Trial]) -> Mapping[str, Any]:
        """Return what a card says of a winner beyond its measurements."""
        del trials
        return describe(point.candidate)

    def _alone(self, candidate: Candidate, lesson: Lesson, paper: Paper, max_bytes: int | None) -> Artifact | None:
        """Return the file of this candidate, with fewer trees where it would be too long; None if it stays so."""
        sizes = SHRINKS if max_bytes is not None and candidate["family"] in SHORTENED else (1.0,)
        for fitted in fit(replace(lesson, sizes=sizes), candidate.genes):
            artifact = write(fitted, paper)
            if max_bytes is None or artifact.size <= max_bytes:
                return artifact
        return None

    def _lesson(
        self, candidate: Candidate, data: Dataset, fold: int, goes_on: Callable[[], bool] = lambda: True
    ) -> Lesson:
        table = table_of(data)
        index = np.arange(len(data.rows)) if fold == EVERYTHING else np.asarray(data.splits[fold].train)
        share = _taught(candidate)
        soft = opinions(data, fold, self.seed, goes_on) if share else None
        weight, y, classes = table.weight[index], table.y[index], len(self.signature.classes)
        if self.metric == "balanced_accuracy":
            mass = np.bincount(y, weight, classes)
            weight = weight * (mass.sum() / np.maximum(mass, 1e-12) / (mass > 0).sum())[y]
        signs = np.zeros(len(self.signature.numeric_columns) + len(self.signature.categorical_columns), np.int64)
        for name, sign in self.monotone:
            signs[self.signature.numeric_columns.index(name)] = sign
        targets = Targets(y, weight, classes, soft, share if soft is not None else 0.0)
        seed = self._seed(candidate)
        return Lesson(table, table.columns.take(index), targets, signs, self.metric, seed, goes_on=goes_on)

    def _seed(self, candidate: Candidate) -> int:
        """Return the seed of a training: the same for all sizes that it yields."""
        genes = {name: value for name, value in candidate.genes.items() if not name.endswith(".trees")}
        text = f"{self.seed}:{json.dumps(genes, sort_keys=True)}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def check_signature(signature: Signature) -> None:
    """Raise unless the data are a table.

    Raises:
        DataError: It says what they are.
    """
    if signature.kind != "table":
        raise DataError(
            f"The space tabular takes tables, got {signature.kind}. Use a table: data=csv, data=wine, or data=npz with "
            "data.kind=table."
        )


def _taught(candidate: Candidate) -> float:
    return float(candidate.genes.get("teach", 0.0))


def _few(index: np.ndarray) -> np.ndarray:
    index = np.asarray(index)
    return index[np.linspace(0, len(index) - 1, min(len(index), CHECKED_ROWS)).astype(np.int64)]
