"""What runs inside a worker: building and scoring a trial, finishing a winner."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np

from engine.artifact import Artifact
from engine.data import Dataset, Rows
from engine.deadline import Deadline
from engine.errors import EngineError, FamilyError
from engine.family import Family
from engine.fold_race import FoldRace
from engine.racing import Race
from engine.score import latency_us, score
from engine.space import Candidate
from engine.trial import Curve, Point

__all__ = ["Build", "Done", "Finish", "Work"]

NO_ANSWERS = np.empty((0, 0), np.float32)
Scored = tuple[dict[str, float], Artifact, np.ndarray]  # what a file of one fold is scored by, the file, its answers


@final
@dataclass(frozen=True)
class Build:
    """Build and score one candidate.

    Args:
        number: Of the trial.
        candidate: In canonical form.
        seed: Of the training.
        deadline: At which the trial stops with what it has.
        race: What its errors on the way are compared with; None lets it go on to the end.
        fold_race: What its files of the first fold are compared with, likewise.
    """

    number: int
    candidate: Candidate
    seed: int
    deadline: Deadline | None = None
    race: Race | None = None
    fold_race: FoldRace | None = None


@final
@dataclass(frozen=True)
class Finish:
    """Train one winner long; the result is at most `max_bytes` long, and there by the deadline, or not at all.

    Without `max_bytes` it is not shipped but teaches. `own` is the trial's file.
    """

    number: int
    candidate: Candidate
    seed: int
    max_bytes: int | None
    refit: bool
    effort: float = 1.0
    teachers: tuple[Artifact, ...] = ()
    deadline: Deadline | None = None
    own: Artifact | None = None


@final
@dataclass(frozen=True)
class Done:
    """What came of a task: points and their files, or the text of its failure.

    `is_cut` if the deadline stopped it; `estimate`, its expected final error, if the race did; `answers` of each file
    to the validation rows, fold after fold, where they are kept.
    """

    points: tuple[Point, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    seconds: float = 0.0
    error: str = ""
    is_cut: bool = False
    curve: Curve = ()
    estimate: float | None = None
    answers: tuple[np.ndarray, ...] = ()


@final
@dataclass
class Work:
    """The function that workers run; made once a study, sent to each worker once.

    Args:
        family: Makes the files.
        folder: Of the data set.
        metric: By which files are scored.
        cost: Name of the second axis; what is not measured here, the family tells in the card of each file.
        keeps_answers: Whether what files answer to validation rows is returned with their scores.
    """

    family: Family
    folder: Path
    metric: str
    cost: str = "bytes"
    keeps_answers: bool = False

    @cached_property
    def data(self) -> Dataset:
        """The data set, mapped at the first task."""
        return Dataset.open(self.folder)

    def __call__(self, task: Build | Finish) -> Done:
        """Run a task; whatever goes wrong inside it becomes its result."""
        start = time.perf_counter()
        try:
            done = self._build(task) if isinstance(task, Build) else self._finish(task)
        except EngineError as error:
            done = Done(error=str(error))
        except MemoryError:
            done = Done(error="The trial ran out of memory.")
        except Exception as error:  # a trial that fails is data, whatever the family raised
            done = Done(error=f"{type(error).__name__}: {error}")
        return replace(done, seconds=time.perf_counter() - start)

    def _build(self, task: Build) -> Done:
        is_cut, estimate = False, None
        folds = [len(self.data.splits) - 1, *range(len(self.data.splits) - 1)]  # of the last one errors are kept
        curve: list[tuple[float, float]] = []

        def report(step: float, error: float) -> bool:
            nonlocal is_cut, estimate
            if fold == folds[0] and math.isfinite(error):  # it runs for all folds
                curve.append((round(step, 4), round(error, 6)))
                estimate = task.race.estimate(curve) if task.race is not None else None
            is_late = step < 1 and task.deadline is not None and task.deadline.is_over()  # at 1, nothing is left to cut
            is_cut = is_cut or is_late
            return not is_cut and estimate is None

        found: dict[Candidate, dict[int, Scored]] = {}
        for fold in folds:
            valid = self.data.valid(fold)
            made = self.family.build(task.candidate, self.data, fold=fold, fidelity=1.0, seed=task.seed, report=report)
            for candidate, artifact in made:
                if estimate is not None:
                    return Done(curve=tuple(curve), estimate=estimate)
                found.setdefault(candidate, {})[fold] = self._scored(candidate, artifact, valid)
            if is_cut and fold != folds[-1]:
                return Done(is_cut=True)  # what some folds say alone is no error to compare
            if fold == folds[0] and len(folds) > 1 and task.fold_race is not None and found:
                files = [(values[self.cost], values["error"]) for ((values, *_),) in map(dict.values, found.values())]
                estimate = task.fold_race.estimate(files)
                if estimate is not None:
                    return Done(curve=tuple(curve), estimate=estimate)
        return replace(_averaged(found, sorted(folds)), is_cut=is_cut, curve=tuple(curve))

    def _scored(self, candidate: Candidate, artifact: Artifact, valid: Rows) -> Scored:
        """Return what a file is scored by on validation rows."""
        answers = artifact.outputs(valid.inputs())
        values = score(artifact, answers, valid, metric=self.metric, task=self.data.signature.task)
        if self.cost == "latency_us":
            values["latency_us"] = latency_us(artifact, valid)
        if self.cost == "macs":
            values["macs"] = float(self.family.macs(candidate) or 0)
        if self.cost not in values:
            values[self.cost] = float(artifact.card[self.cost])
        return values, artifact, answers if self.keeps_answers else NO_ANSWERS

    def _finish(self, task: Finish) -> Done:
        artifact = self.family.finish(
            task.candidate,
            self.data,
            teachers=task.teachers,
            effort=task.effort,
            max_bytes=task.max_bytes,
            seed=task.seed,
            refit=task.refit,
            own=task.own,
        )
        if task.max_bytes is not None and artifact.size > task.max_bytes:
            raise FamilyError(f"finish must give at most {task.max_bytes} bytes, got {artifact.size}.")
        values = {"error": float(artifact.card["validation"]["error"]), "bytes": float(artifact.size)}
        return Done((Point(task.candidate, values, artifact.sha256),), (artifact,))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "data"}  # workers map the rows themselves


def _averaged(found: Mapping[Candidate, Mapping[int, Scored]], folds: Sequence[int]) -> Done:
    """Return the points of all candidates that were built in every fold, and their files of the last one."""
    if not found:
        raise FamilyError("The family built no file; build must yield at least one.")
    # A path may be longer in some folds than in others: its end has no mean to be compared by.
    whole = {owner: [scores[fold] for fold in folds] for owner, scores in found.items() if len(scores) == len(folds)}
    if not whole:
        raise FamilyError("The family built no candidate in every fold; at least one must be the same in all.")
    points = tuple(_point(owner, scores) for owner, scores in whole.items())
    answers = tuple(np.concatenate([told for _, _, told in scores]) for scores in whole.values())
    return Done(points, tuple(scores[-1][1] for scores in whole.values()), answers=answers)


def _point(candidate: Candidate, scores: Sequence[Scored]) -> Point:
    """Mean error with its standard error over folds; the largest of every cost."""
    errors = [values["error"] for values, *_ in scores]
    values = {name: max(entry[name] for entry, *_ in scores) for name in scores[0][0]}
    values["error"] = float(np.mean(errors))
    if len(errors) > 1:
        values["error_se"] = float(np.std(errors, ddof=1) / math.sqrt(len(errors)))
        values["last_fold_error"] = errors[-1]  # a winner is finished on the last fold and compared there
    return Point(candidate, values, scores[-1][1].sha256)
