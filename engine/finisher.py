"""From the front of a search to finished files: long training, then the test rows, once."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any, final

import numpy as np

from engine.artifact import Artifact
from engine.backends import Backend
from engine.blends import Blends
from engine.collecting import collect
from engine.data import Rows, Signature
from engine.deadline import Deadline
from engine.errors import ArtifactError
from engine.family import Family
from engine.finished import FinishedFiles
from engine.front import Front
from engine.groups import group_report
from engine.intervals import wilson
from engine.member import Member, Members, means, shipped
from engine.record import RunFolder
from engine.score import error_of, latency_us
from engine.study import seed_of
from engine.tables import write_front_csv
from engine.threshold import Decision, ThresholdSettings, choose_decision
from engine.trial import Point, Trial
from engine.winners import (
    FinishSettings,
    Pace,
    count_in_time,
    patiences,
    seconds_by_key,
    seconds_to_teach,
    seconds_to_test,
    spread,
)
from engine.work import Build, Done, Finish

__all__ = ["Finisher"]

PACKAGES = ("lilliput", "torch", "onnx", "onnxruntime", "numpy")


@final
@dataclass
class Finisher:
    """Finishes a front and writes it.

    Winners, teachers and what is shipped are chosen on validation rows; test rows only fill columns of the table.

    Args:
        family: Made the files.
        backend: Runs; started already.
        folder: Of the run.
        signature: Of the data.
        test: Test rows, or None.
        metric: By which files are scored.
        seed: Of the study.
        settings: How.
        refit: As decided for this data.
        teacher: The user's, or None for the best member of the front.
        told: What every card says, `split` among it.
        deadline: By which everything shall be written, report included.
        writing_seconds: That the report takes.
        watch: Told (finished, to finish, seconds to expect or None).
        threshold: How labels are chosen.
        valid: Rows on which they are chosen, of the last pair; None where nothing is chosen.
        protected: Columns of the test rows that are no inputs, by whose values the files are judged group by group.
        blends: Chooses means of what was tried, whose members are finished, too; None where none are made.
        blend_finished: Chooses means of finished files, whose answers it gets here; None where none are made.
    """

    family: Family
    backend: Backend
    folder: RunFolder
    signature: Signature
    test: Rows | None
    metric: str
    seed: int
    settings: FinishSettings
    refit: bool
    teacher: Artifact | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
    deadline: Deadline | None = None
    writing_seconds: float = 0.0
    watch: Callable[[int, int, float | None], None] = lambda _finished, _of, _left: None
    threshold: ThresholdSettings = field(default_factory=ThresholdSettings)
    valid: Rows | None = None
    protected: Mapping[str, np.ndarray] = field(default_factory=dict)
    blends: Blends | None = None
    blend_finished: Blends | None = None
    _failures: dict[str, str] = field(default_factory=dict)
    _until: Deadline | None = None  # by which training shall be over

    def run(self, front: Front, trials: Sequence[Trial], *, is_training: bool = True) -> list[Member]:
        """Finish the front, write `front/` and `front.csv`, and return the members, most accurate first.

        Args:
            front: Of the search.
            trials: All of the search.
            is_training: Whether winners may still be trained; without, what is finished or found is shipped.
        """
        files = self._own_files(front, is_training=is_training)
        front = replace(front, points=tuple(point for point in front if point.sha256 in files))
        finished: dict[str, Artifact] = {}
        joined: list[Member] = []
        if self.settings.members > 0 and len(front):
            winners = spread(front, self.settings.members)
            blends = self.blends.better_than(front) if self.blends is not None else []
            tested = [*files.values(), *(file for blend in blends for file in blend.files)]
            self._until = self._end_of_training(tested) if is_training else None
            seconds = seconds_by_key(trials) if is_training else None
            own = files[front.points[0].sha256]
            teachers = (self.teacher,) if self.teacher else self._teachers(winners, own, seconds)
            trained = {point.candidate.key: (point, files[point.sha256]) for point in winners}
            for blend in blends:
                for point, file in zip(blend.points, blend.files, strict=True):
                    trained.setdefault(point.candidate.key, (point, file))
            finished = self._finished(list(trained.values()), teachers, seconds)
            if self.blends is not None:
                joined = means(self.blends, blends, finished)
        members = [self._shipped(point, files[point.sha256], finished, front.cost) for point in front]
        if self.blend_finished is not None:
            joined = self._means_of(self.blend_finished, members)
        members = [*joined, *members]
        finished_front = Front.of([member.point for member in members], cost=front.cost, floor=front.floor)
        kept = {id(point) for point in finished_front}
        members = [member for member in members if id(member.point) in kept]
        members.sort(key=lambda member: (member.point.values["error"], member.point.values["bytes"]))
        members = [self._with_card(member, trials, files.get(member.searched.sha256)) for member in members]
        if members or not (self.folder.path / "front").exists():
            self._write(members)
        return members

    def _own_files(self, front: Front, *, is_training: bool) -> dict[str, Artifact]:
        """Return the trials' files; one that is gone is built again, or left out where nothing may be trained."""
        found = {point.sha256: self.folder.kept(point.sha256) for point in front}
        files = {sha256: artifact for sha256, artifact in found.items() if artifact is not None}
        gone = [point for point in front if point.sha256 not in files] if is_training else []
        builds = [Build(n, p.candidate, seed_of(self.seed, p.candidate)) for n, p in enumerate(gone)]

        def keep(task: Build, done: Done) -> None:
            for artifact in done.artifacts:
                if artifact.sha256 == gone[task.number].sha256:
                    self.folder.keep(artifact)
                    files[artifact.sha256] = artifact

        collect(self.backend, builds, keep)
        lost = [point.sha256[:12] for point in gone if point.sha256 not in files]
        if lost:
            raise ArtifactError(
                f"Files of trials are gone from {self.folder.path / 'files'} ({', '.join(lost)}), and building them "
                "again gave other files: the packages or the machine changed. Search anew in another folder."
            )
        self.folder.forget(set(files))
        return files

    def _teachers(
        self, winners: Sequence[Point], own: Artifact, seconds: Mapping[str, float] | None
    ) -> tuple[Artifact, ...]:
        """Return the best member as it teaches: trained long without a limit, never on the rows that choose.

        Several differ in their seeds alone.

        Args:
            winners: The best one first.
            own: Its trial's file, which teaches where no other can be had.
            seconds: Of their trials, by key; None to train nothing.
        """
        if not self.settings.teachers:
            return (own,)
        candidate, effort = winners[0].candidate, self.settings.effort
        seeds = enumerate(seed_of(self.seed + number, candidate) for number in range(self.settings.teachers))
        tasks = [
            Finish(n, candidate, seed, None, refit=False, effort=effort, deadline=self._until) for n, seed in seeds
        ]
        found = self._kept.of(tasks)
        missing = [task for task in tasks if task.number not in found]
        if missing and (seconds is None or not self._has_time_to_teach(winners, seconds)):
            return (own,)
        if missing and seconds is not None:
            first, others = self._supposed(winners, seconds)
            self.watch(0, len(winners), first + sum(others) / self.backend.slots)
            collect(self.backend, missing, self._kept.keep)
        return tuple(self._kept.of(tasks).values()) or (own,)

    def _finished(
        self,
        winners: Sequence[tuple[Point, Artifact]],
        teachers: tuple[Artifact, ...],
        seconds: Mapping[str, float] | None,
    ) -> dict[str, Artifact]:
        """Take over results of an earlier run, and train the other winners: largest first, in a limited time quickest.

        Args:
            winners: With their trials' own files.
            teachers: Of all.
            seconds: Of their trials, by key, which tell what still fits in the time; None: nothing is trained.
        """
        points = [point for point, _ in winners]
        efforts, limits = self._efforts(points), [int(point.values["bytes"]) for point in points]
        seeds = [seed_of(self.seed, point.candidate) for point in points]
        tasks = [
            Finish(n, p.candidate, seeds[n], limits[n], self.refit, efforts[n], teachers, self._until, own)
            for n, (p, own) in enumerate(winners)
        ]
        found = self._kept.of(tasks)
        tasks = [task for task in tasks if task.number not in found and seconds is not None]
        costs = {task.number: task.effort * (seconds or {}).get(task.candidate.key, 0.0) for task in tasks}
        sizes = {n: -efforts[n] * (self.family.macs(points[n].candidate) or limits[n]) for n in costs}
        first = sizes if self._until is None else costs
        tasks.sort(key=lambda task: (first[task.number], task.number))
        pace = Pace(2 if self.refit else 1)
        total = len(found) + len(tasks)
        waiting = dict(costs)

        def tell() -> None:
            self.watch(len(found), total, sum(map(pace.expected, waiting.values())) / self.backend.slots)

        tell()

        def keep(task: Finish, done: Done) -> None:
            self._kept.keep(task, done)
            found.update(self._kept.of([task]))
            if done.error:
                self._failures[task.candidate.key] = done.error
            else:
                pace.learn(costs[task.number], done.seconds)
            del waiting[task.number]
            tell()

        def fits(task: Finish, is_first: bool) -> bool:
            is_unknown = is_first and not pace.is_learned
            supposed = costs[task.number] / task.effort if is_unknown else pace.expected(costs[task.number])
            return self._until is not None and self._until.left() > supposed

        collect(self.backend, tasks, keep, fits if self._until is not None else None)
        return {points[number].candidate.key: artifact for number, artifact in found.items()}

    def _end_of_training(self, own: Sequence[Artifact]) -> Deadline | None:
        """Return the deadline less what test rows, cards and report will take."""
        if self.deadline is None:
            return None
        told = seconds_to_test(own, self.test) if self.test is not None and len(self.test) else 0.0
        if self.blend_finished is not None:  # validation rows through all files, and test rows through means of them
            told = 2 * told + seconds_to_test(own, self.blend_finished.data.valid(0))
        return Deadline(self.deadline.moment - self.writing_seconds - told)

    def _has_time_to_teach(self, winners: Sequence[Point], seconds: Mapping[str, float]) -> bool:
        """Say whether teachers can be trained before all winners are."""
        if self._until is None:
            return True
        first, costs = self._supposed(winners, seconds)
        return count_in_time(sorted(costs), self._until.left() - first, self.backend.slots) == len(winners)

    def _supposed(self, winners: Sequence[Point], seconds: Mapping[str, float]) -> tuple[float, list[float]]:
        """Return the seconds that teachers are supposed to take, and those of all winners."""
        own = [seconds.get(point.candidate.key, 0.0) for point in winners]
        costs = [effort * cost for effort, cost in zip(self._efforts(winners), own, strict=True)]
        teaching = seconds_to_teach(self.settings.effort * own[0], self.settings.teachers, self.backend.slots)
        return teaching, [cost * (2 if self.refit else 1) for cost in costs]

    def _efforts(self, winners: Sequence[Point]) -> list[float]:
        """Return how many times longer than its trial each winner trains."""
        macs = [self.family.macs(point.candidate) for point in winners]
        return [self.settings.effort * patience for patience in patiences(macs)]

    @property
    def _kept(self) -> FinishedFiles:
        return FinishedFiles(self.folder.path / "finished")

    def _shipped(self, point: Point, own: Artifact, finished: Mapping[str, Artifact], cost: str) -> Member:
        key = point.candidate.key
        failure = self._failures.get(key, "")
        return shipped(point, own, finished.get(key), cost=cost, metric=self.metric, failure=failure)

    def _means_of(self, blends: Blends, members: Sequence[Member]) -> list[Member]:
        """Return means of finished files that err less than these on validation rows, which nobody learned from."""
        inputs = blends.data.valid(0).inputs()
        answers = {member.point.candidate.key: member.artifact.outputs(inputs) for member in members}
        of_members = replace(blends, answers=Members(members, answers))
        chosen = of_members.better_than(Front.of(member.point for member in members))
        trained = {m.point.candidate.key: m.artifact for m in members if m.artifact.card["finished"]}
        return means(of_members, chosen, trained)

    def _with_card(self, member: Member, trials: Sequence[Trial], own: Artifact | None) -> Member:
        """Measure test error and latency, and complete the card; `own` is the trial's file, which a mean has not."""
        point, artifact = member.point, member.artifact
        number = next((t.number for t in trials if any(p.candidate == point.candidate for p in t.points)), None)
        rows = int(self.told["split"]["validation_rows"])
        if "last_fold_error" not in point.values:  # otherwise every row has been validated
            rows = int(artifact.card.get("validation", {}).get("rows") or rows)
        card = {
            **self.told,
            **artifact.card,
            **self.family.describe(member.searched, trials),
            "task": self.signature.task,
            "metric": self.metric,
            "classes": list(self.signature.classes),
            "numeric_columns": list(self.signature.numeric_columns),
            "categorical_columns": list(self.signature.categorical_columns),
            "bytes": artifact.size,
            "macs": self.family.macs(point.candidate),
            "sha256": artifact.sha256,
            "selected_on": "validation",
            "validation": self._measured(point.values["error"], rows),
            "test": None,
            "candidate": point.candidate.genes,
            "key": point.candidate.key,
            "trial": number,
            "seeds": [seed_of(self.seed, point.candidate)],
            "versions": {name: _version(name) for name in PACKAGES} | {"python": platform.python_version()},
        }
        decision = Decision()
        if self.valid is not None:
            # The file that ships may have learned from these rows; the trial's own has not.
            answers = member.answers if own is None else own.outputs(self.valid.inputs())
            assert answers is not None
            decision = choose_decision(answers, self.valid, self.threshold)
            card["decision"] = {**decision.to_json(), "by": self.threshold.metric or "costs", "rows": len(self.valid)}
        if self.test is not None and len(self.test):
            outputs = artifact.outputs(self.test.inputs())
            error = error_of(outputs, self.test, metric=self.metric, task=self.signature.task)
            card["test"] = self._measured(error, len(self.test))
            card["latency_us"] = round(latency_us(artifact, self.test), 1)
            if self.protected:
                card["groups"] = group_report(outputs, self.test, self.protected, decision, self.signature.classes)
        return replace(member, artifact=replace(artifact, card=card))

    def _measured(self, error: float, rows: int) -> dict[str, float | int | None]:
        """Return an error with its 95 % interval, which only a share of wrong rows has."""
        is_count = self.metric == "accuracy" and (self.test is None or self.test.weight is None)
        low, high = wilson(round(error * rows), rows) if is_count and rows else (None, None)
        return {"error": error, "low": low, "high": high, "rows": rows}

    def _write(self, members: Sequence[Member]) -> None:
        """Write the front beside the old one, then put it in its place."""
        waiting, place = self.folder.path / ".front.part", self.folder.path / "front"
        shutil.rmtree(waiting, ignore_errors=True)
        waiting.mkdir(parents=True)
        for number, member in enumerate(members):
            member.artifact.save(waiting / f"{number:02d}")
        shutil.rmtree(place, ignore_errors=True)
        waiting.rename(place)
        write_front_csv(self.folder.path / "front.csv", [dict(member.artifact.card) for member in members])


def _version(name: str) -> str:
    try:
        return version(name)
    except ModuleNotFoundError:
        return "unknown"
