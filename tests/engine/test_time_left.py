"""What is under way when the time is up: it is ended, and nothing of it is recorded."""

from dataclasses import replace

import numpy as np
import pytest
from toy import Toy, candidate, toy_data

from engine.allowance import seconds_of
from engine.backends import Outcome
from engine.backends.serial import Serial
from engine.data import Dataset, Split
from engine.deadline import Deadline
from engine.objective import Objective, Problem
from engine.record import RunFolder
from engine.samplers.random import RandomSampler
from engine.study import Study
from engine.trial import State
from engine.work import Build, Finish, Work


def test_a_task_may_run_until_its_deadline_and_a_trial_a_little_longer(monkeypatch):
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    limit = seconds_of(60.0, grace=2.0)
    build, finish = Build(0, candidate(1), 0), Finish(0, candidate(1), 0, 1000, refit=False, effort=3.0)
    assert limit(build) == 60
    assert limit(replace(build, deadline=Deadline(1010.0))) == pytest.approx(12)
    assert limit(replace(finish, deadline=Deadline(1010.0))) == pytest.approx(10)
    assert limit(replace(finish, deadline=Deadline(1500.0))) == 180
    assert limit(replace(finish, deadline=Deadline(900.0))) == 0
    assert seconds_of(None, grace=2.0)(build) is None


def test_a_trial_that_is_ended_when_the_time_is_up_has_not_failed_and_is_not_recorded(tmp_path):
    class Ended(Serial):
        def wait(self):
            outcome = super().wait()
            if outcome.task.number != 2:
                return outcome
            study.deadline = over
            task = replace(outcome.task, deadline=over)
            return Outcome(task, lost="it ran for longer than 9 seconds", is_limit=True)

    over, family, folder, backend = Deadline(0.0), Toy(), RunFolder(tmp_path / "run"), Ended()
    _, recorded = folder.open({"lag": 2})
    backend.start(Work(family, toy_data().save(tmp_path / "data").folder, "accuracy"))
    axes = (Objective("error"), Objective("bytes"))
    problem = Problem(family.space, *axes, family.canonical, family.bytes, 20)
    study = Study(problem, RandomSampler(), backend, folder, 0, 2, recorded, Deadline.after(600.0))
    study.run()
    assert study.stopped == "the time is up"
    assert study.counts[State.FAILED] == 0
    assert study.trials[2].points == ()
    assert 2 not in folder.load()
    assert {0, 1} <= set(folder.load())


def test_what_some_folds_say_alone_is_no_error_to_compare(tmp_path):
    class Halves(Toy):
        def build(self, candidate, data, *, report, **told):
            report(0.5, float("nan"))
            yield from Toy.build(self, candidate, data, report=report, **told)

    whole = toy_data()
    rows = np.arange(len(whole.rows))
    folds = tuple(Split(rows[rows % 3 != fold], rows[rows % 3 == fold]) for fold in range(3))
    work = Work(Halves(), Dataset(whole.signature, whole.rows, folds).save(tmp_path).folder, "accuracy")
    assert len(work(Build(0, candidate(3), 0)).points) == 1
    cut = work(Build(0, candidate(3), 0, Deadline(0.0)))
    assert (cut.points, cut.is_cut, cut.error) == ((), True, "")
