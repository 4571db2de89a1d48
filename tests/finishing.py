"""A searched run of toy files, ready to be finished as often as a test wants."""

from dataclasses import replace

import numpy as np
from toy import Toy, toy_data

from engine.artifact import Artifact
from engine.backends.serial import Serial
from engine.data import Dataset, Split
from engine.finisher import Finisher
from engine.objective import Objective, Problem
from engine.record import RunFolder
from engine.samplers.random import RandomSampler
from engine.study import Study
from engine.winners import FinishSettings
from engine.work import Work

SEED = 3


class Counting(Toy):
    """A toy that counts, and whose long training can be made worse, failing or too long."""

    def __init__(self, way="", **given):
        super().__init__(**given)
        for name, value in (("way", way), ("built", []), ("finished", [])):
            object.__setattr__(self, name, value)

    def build(self, candidate, data, **given):
        self.built.append(candidate)
        return super().build(candidate, data, **given)

    def finish(self, candidate, data, *, teachers, max_bytes, **given):
        self.finished.append((candidate, tuple(teacher.sha256 for teacher in teachers), max_bytes))
        if self.way == "fails":
            raise ZeroDivisionError("the long training broke")
        artifact = super().finish(candidate, data, teachers=teachers, max_bytes=max_bytes, **given)
        if self.way == "worse":
            validation = {"error": 0.9, "rows": artifact.card["validation"]["rows"]}
            return replace(artifact, card={**artifact.card, "validation": validation})
        if self.way == "better" and candidate["size"] >= self.largest // 3:
            validation = {"error": 0.0, "rows": artifact.card["validation"]["rows"]}
            return replace(artifact, card={**artifact.card, "validation": validation})
        return artifact


class Pupil(Toy):
    """A toy whose long training depends on who teaches it; that of teachers can be made failing."""

    def __init__(self, way="", **given):
        super().__init__(**given)
        object.__setattr__(self, "way", way)

    def finish(self, candidate, data, *, teachers, **given):
        if not teachers and self.way == "fails":
            raise ZeroDivisionError("the teacher's training broke")
        artifact = super().finish(candidate, data, teachers=teachers, **given)
        lesson = 1.0 + sum(int(teacher.sha256[:4], 16) / 65536 for teacher in teachers)
        weights = self._weights(candidate, given["seed"]) * lesson
        return replace(artifact, model=self._file(candidate, weights.astype(np.float32)))


def folds_of(data, count):
    rows = np.arange(len(data.rows))
    splits = tuple(Split(rows[rows % count != fold], rows[rows % count == fold]) for fold in range(count))
    return Dataset(data.signature, data.rows, splits)


class Search:
    """A searched run, ready to be finished as often as a test wants."""

    def __init__(self, path, *, family=None, data=None, budget=14):
        self.family, self.data = family or Counting(), data or toy_data()
        self.folder = RunFolder(path)
        _, recorded = self.folder.open({"lag": 2})
        self.stored = self.data.save(path.with_name(f"{path.name}-data"))
        backend = self.backend()
        problem = Problem(
            self.family.space, Objective("error"), Objective("bytes"), self.family.canonical, self.family.bytes, budget
        )
        self.study = Study(problem, RandomSampler(), backend, self.folder, SEED, 2, recorded)
        self.study.run()
        backend.close()

    def backend(self, made=None):
        backend = made or Serial()
        backend.start(Work(self.family, self.stored.folder, "accuracy"))
        return backend

    def finisher(self, *, members=16, test=None, refit=False, validation_rows=None, teachers=0, **given):
        rows = validation_rows or len(self.data.splits[0].valid)
        return Finisher(
            family=self.family,
            backend=given.pop("backend", None) or self.backend(),
            folder=self.folder,
            signature=self.data.signature,
            test=test,
            metric="accuracy",
            seed=SEED,
            settings=FinishSettings(members=members, teachers=teachers),
            refit=refit,
            told={"split": {"seed": SEED, "validation_rows": rows}},
            **given,
        )

    def finish(self, *, is_training=True, front=None, **given):
        front = self.study.front if front is None else front
        return self.finisher(**given).run(front, self.study.ended(), is_training=is_training)

    def written(self):
        """Artifacts of `front/`, in order."""
        return [Artifact.load(place) for place in sorted((self.folder.path / "front").iterdir())]


def wrong_share(artifact, rows):
    return float((artifact.outputs({"x": np.asarray(rows.x)}).argmax(1) != rows.y).mean())
