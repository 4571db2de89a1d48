"""Trials that lie clearly behind the front after the first of their folds stop there."""

from dataclasses import replace

import pytest
from finishing import folds_of
from toy import Toy, toy_data

from engine.backends.serial import Serial
from engine.fold_race import FoldRace, fold_race_for
from engine.front import Front
from engine.objective import Objective, Problem
from engine.record import RunFolder
from engine.samplers.random import RandomSampler
from engine.space import Candidate
from engine.study import Study
from engine.trial import Point, State
from engine.work import Build, Work

RACE = FoldRace(((1000.0, 0.31, 0.30, 0.01), (4000.0, 0.22, 0.20, 0.01)))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([(500.0, 0.9)], None),  # smaller than all that is known
        ([(2000.0, 0.319)], None),  # not clearly worse than the smaller member
        ([(2000.0, 0.35)], 0.34),  # as much worse in the mean as on this fold
        ([(9000.0, 0.25)], 0.23),  # it must reach the member at its own size
        ([(2000.0, float("nan"))], None),  # nothing is learned from it
        ([(2000.0, float("inf"))], None),
        ([(9000.0, 0.25), (2000.0, 0.30)], None),  # one of its files may join
        ([(9000.0, 0.25), (2000.0, 0.50)], 0.23),  # the best that it might have become
    ],
)
def test_a_trial_stops_where_all_its_files_are_clearly_behind(files, expected):
    estimate = RACE.estimate(files)
    assert estimate is None if expected is None else estimate == pytest.approx(expected)


def test_nobody_races_without_folds_or_a_front():
    whole = Point(Candidate.of({"size": 3}), {"error": 0.1, "bytes": 300.0})
    assert fold_race_for(Front(())) is None
    assert fold_race_for(Front((whole,))) is None


def test_the_race_is_run_against_the_front_in_order_of_size():
    values = [
        {"error": 0.1, "error_se": 0.01, "last_fold_error": 0.12, "bytes": 900.0},
        {"error": 0.3, "error_se": 0.02, "last_fold_error": 0.29, "bytes": 300.0},
    ]
    front = Front.of(Point(Candidate.of({"size": n}), value) for n, value in enumerate(values))
    assert fold_race_for(front) == FoldRace(((300.0, 0.29, 0.3, 0.02), (900.0, 0.12, 0.1, 0.01)))


def work_on(tmp_path, folds):
    data = folds_of(toy_data(), folds) if folds > 1 else toy_data()
    return Work(Toy(), data.save(tmp_path / f"data-{folds}").folder, "accuracy")


def built(work, size, race):
    return work(Build(0, Candidate.of({"size": size, "twin": "a"}), 7, fold_race=race))


def test_what_stops_was_trained_on_one_fold_and_has_no_file(tmp_path, monkeypatch):
    work, seen = work_on(tmp_path, 5), []
    build = Toy.build

    def counted(self, candidate, data, *, fold, **rest):
        seen.append(fold)
        return build(self, candidate, data, fold=fold, **rest)

    monkeypatch.setattr(Toy, "build", counted)
    whole = built(work, 20, None)
    assert seen == [4, 0, 1, 2, 3]
    values = whole.points[0].values
    hard = FoldRace(((1.0, values["last_fold_error"] - 0.2, values["error"] - 0.2, 0.01),))
    stopped = built(work, 20, hard)
    assert seen[5:] == [4]
    assert not stopped.points
    assert stopped.estimate == pytest.approx(values["error"])
    easy = FoldRace(((1.0, values["last_fold_error"], values["error"], 0.01),))
    assert built(work, 20, easy).points == whole.points, "what goes on is measured as if there were no race"
    assert built(work_on(tmp_path, 1), 20, hard).points, "one fold is all there is"


def study_of(tmp_path, name, *, is_racing=True, budget=40):
    family, folder = Toy(), RunFolder(tmp_path / name)
    _, recorded = folder.open({"seed": 1, "lag": 2, "budget": budget})
    cost = Objective("bytes", "bytes")
    known = Problem(family.space, Objective("error"), cost, family.canonical, family.bytes, budget)
    backend = Serial()
    backend.start(work_on(tmp_path, 5))
    study = Study(known, RandomSampler(), backend, folder, 1, 2, recorded, is_racing=is_racing)
    study.run()
    return study


def test_a_study_stops_such_trials_and_finds_the_same_front(tmp_path):
    raced, whole = study_of(tmp_path, "raced"), study_of(tmp_path, "whole", is_racing=False)
    stopped = [trial for trial in raced.ended() if trial.state is State.RACED]
    assert 5 < len(stopped) < 40
    assert not any(trial.state is State.RACED for trial in whole.ended())
    errors = {trial.number: min(point.values["error"] for point in trial.points) for trial in whole.ended()}
    assert all(trial.estimate == pytest.approx(errors[trial.number], abs=0.1) for trial in stopped)
    assert raced.front.pairs() == whole.front.pairs()


def test_the_same_trials_stop_when_a_search_resumes(tmp_path):
    whole = study_of(tmp_path, "whole")
    study_of(tmp_path, "part", budget=25)
    resumed = study_of(tmp_path, "part")
    assert [replace(trial, seconds=0) for trial in resumed.ended()] == [
        replace(trial, seconds=0) for trial in whole.ended()
    ]
