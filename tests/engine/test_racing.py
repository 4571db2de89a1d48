import math
from dataclasses import dataclass, replace

import pytest
from toy import Toy, toy_data

from engine.backends.serial import Serial
from engine.objective import Objective, Problem
from engine.racing import MIN_CURVES, Forecast, Race, race_for
from engine.record import RunFolder
from engine.samplers.random import RandomSampler
from engine.samplers.registry import sampler_named
from engine.space import Candidate, Int, Space
from engine.study import Study
from engine.trial import Point, State, Trial
from engine.work import Work

SPACE = Space({"size": Int(1, 1000)})


def problem(exact=True):
    cost = (lambda candidate: 10.0 * candidate["size"]) if exact else (lambda candidate: None)
    return Problem(SPACE, Objective("error"), Objective("bytes"), lambda candidate: candidate, cost, 100)


def trial(number, size, early, final, state=State.COMPLETE):
    candidate = Candidate.of({"size": size})
    points = (Point(candidate, {"error": final, "bytes": 10.0 * size}),) if state is State.COMPLETE else ()
    return Trial(number, candidate, state, points, curve=((0.25, early), (0.5, (early + final) / 2)))


def halving(count):
    """Trials that end at half of their first error; larger ones have less."""
    return [trial(number, 10 * (number + 1), 1.2 / (number + 2), 0.6 / (number + 2)) for number in range(count)]


def test_nobody_races_before_enough_is_known():
    candidate = Candidate.of({"size": 500})
    assert race_for(problem(), candidate, halving(MIN_CURVES - 1)) is None
    assert race_for(problem(exact=False), candidate, halving(20)) is None
    assert race_for(problem(), Candidate.of({"size": 1}), halving(20)) is None, "nothing as small is known"
    assert race_for(problem(), candidate, halving(MIN_CURVES)) is not None


def test_the_target_is_the_front_at_the_candidates_own_size():
    trials = halving(20)
    race = race_for(problem(), Candidate.of({"size": 55}), trials)
    assert race.target == pytest.approx(0.6 / 6), "the fifth trial has 500 bytes, the sixth 600"


def test_below_the_floor_the_target_is_that_of_the_floor():
    known = replace(problem(), cost=Objective("bytes", floor=700.0))
    assert race_for(known, Candidate.of({"size": 1}), halving(20)).target == pytest.approx(0.6 / 8)


def test_a_forecast_learns_how_errors_fall():
    race = race_for(problem(), Candidate.of({"size": 100}), halving(20))
    assert [forecast.step for forecast in race.forecasts] == [0.25, 0.5]
    assert race.forecasts[0].final([0.2]) == pytest.approx(0.1, rel=0.05)
    assert race.estimate([(0.25, 0.5)]) == pytest.approx(0.25, rel=0.1), "it would end far above the front"
    assert race.estimate([(0.25, 0.02)]) is None
    assert race.estimate([(0.4, 0.9)]) is None, "no report was ever made there"
    assert race.estimate([(0.25, 0.02), (0.5, 0.015), (0.75, 0.9)]) is None


def test_all_errors_on_the_way_count_and_not_the_last_alone():
    """The second report is one error for all: what differs in the end is in the first."""
    trials = [
        replace(trial(number, 10 * (number + 1), 0.0, final), curve=((0.25, 2 * final), (0.5, 0.7)))
        for number, final in enumerate(0.5 * 0.8**n for n in range(20))
    ]
    race = race_for(problem(), Candidate.of({"size": 100}), trials)
    good, bad = race.forecasts[1].final([0.02, 0.7]), race.forecasts[1].final([0.6, 0.7])
    assert bad > 5 * good


def test_noisy_curves_let_more_trials_go_on():
    noisy = [
        trial(number, 10 * (number + 1), 1.2 / (number + 2), 0.6 / (number + 2) * math.exp(0.5 * (-1) ** number))
        for number in range(20)
    ]
    candidate = Candidate.of({"size": 100})
    steady = race_for(problem(), candidate, halving(20)).forecasts[0]
    shaky = race_for(problem(), candidate, noisy).forecasts[0]
    assert shaky.spread > 2 * steady.spread
    for error in (0.3, 0.5):
        assert shaky.chance([error], 0.05) > steady.chance([error], 0.05)


def test_the_chance_to_reach_the_target_is_that_of_a_normal_log_error():
    forecast = Forecast(0.25, 0.0, (1.0,), 0.5)
    assert forecast.chance([0.1], 0.1) == pytest.approx(0.5)
    assert forecast.chance([0.1], 0.1 * math.exp(0.5)) == pytest.approx(0.8413, abs=1e-4)
    assert forecast.chance([0.1], 0.1 * math.exp(-0.5)) == pytest.approx(0.1587, abs=1e-4)


def test_a_trial_that_has_ended_is_not_stopped():
    ended = [replace(one, curve=(*one.curve, (1.0, 0.6 / (number + 2)))) for number, one in enumerate(halving(20))]
    race = race_for(problem(), Candidate.of({"size": 100}), ended)
    assert [forecast.step for forecast in race.forecasts] == [0.25, 0.5]
    assert race.estimate([(0.25, 0.02), (0.5, 0.015), (1.0, 0.9)]) is None


def test_stopped_and_failed_trials_teach_nothing():
    lost = [trial(number, 50, 0.1, 0.9, State.RACED) for number in range(20, 40)]
    candidate = Candidate.of({"size": 100})
    assert race_for(problem(), candidate, halving(8) + lost) == race_for(problem(), candidate, halving(8))


def test_a_curve_with_a_gap_is_compared_up_to_the_gap():
    trials = halving(20)
    gap = [replace(one, curve=one.curve[1:]) for one in trials[:5]]
    race = race_for(problem(), Candidate.of({"size": 100}), gap + trials[5:])
    assert race == race_for(problem(), Candidate.of({"size": 100}), trials[5:])
    assert race.estimate([(0.5, 0.9)]) is None, "its first report is missing"


def test_an_error_of_zero_is_a_number_like_any_other():
    trials = [trial(number, 10 + number, 0.0, 0.0) for number in range(MIN_CURVES)]
    race = race_for(problem(), Candidate.of({"size": 100}), trials)
    assert race.estimate([(0.25, 0.0)]) is not None, "it cannot be better than zero"
    assert math.isfinite(race.estimate([(0.25, 0.5)]))


def test_a_race_is_a_pure_value():
    race = Race(0.1, (Forecast(0.25, 0.0, (1.0,), 0.5),))
    assert race == Race(0.1, (Forecast(0.25, 0.0, (1.0,), 0.5),))
    assert race != Race(0.2, race.forecasts)


@dataclass(frozen=True)
class Runner(Toy):
    """Every third size starts badly and gives a file that is mostly wrong; the others start well."""

    def build(self, candidate, data, *, fold, fidelity, seed, report):
        early = 0.9 if candidate["size"] % 3 == 0 else 0.5 / candidate["size"]
        for step in (0.25, 0.5):
            if not report(step, early):
                break
        yield from super().build(candidate, data, fold=fold, fidelity=fidelity, seed=seed, report=report)

    def _weights(self, candidate, seed):
        weights = super()._weights(candidate, seed)
        return -weights if candidate["size"] % 3 == 0 else weights


def study_of(tmp_path, *, is_racing=True, budget=40, name="run", sampler=None):
    family, folder = Runner(), RunFolder(tmp_path / name)
    data = toy_data().save(tmp_path / f"{name}-data")
    _, recorded = folder.open({"seed": 1, "lag": 2, "budget": budget})
    cost = Objective("bytes", "bytes")
    known = Problem(family.space, Objective("error"), cost, family.canonical, family.bytes, budget)
    backend = Serial()
    backend.start(Work(family, data.folder, "accuracy"))
    study = Study(known, sampler or RandomSampler(), backend, folder, 1, 2, recorded, is_racing=is_racing)
    study.run()
    return study


def test_a_study_stops_trials_that_cannot_reach_the_front(tmp_path):
    study = study_of(tmp_path)
    raced = [trial for trial in study.ended() if trial.state is State.RACED]
    late = [trial for trial in study.ended() if trial.is_paid and trial.number >= 15]
    hopeless = [trial for trial in late if trial.candidate["size"] in range(9, 61, 3)]  # nothing is known below
    assert len(hopeless) > 4
    assert sum(trial in raced for trial in hopeless) > len(hopeless) / 2
    assert all(trial.number >= MIN_CURVES for trial in raced)
    assert len(study.front) > 1
    assert all(not trial.points and trial.estimate > 0 and trial.curve for trial in raced)
    assert sum(trial.is_paid for trial in study.ended()) == 40
    assert all(len(trial.curve) == 2 for trial in study.ended() if trial.state is State.COMPLETE)


def test_racing_can_be_switched_off(tmp_path):
    study = study_of(tmp_path, is_racing=False)
    assert {trial.state for trial in study.ended()} <= {State.COMPLETE, State.CACHED}


def test_a_race_is_run_again_alike_when_a_search_resumes(tmp_path):
    whole = study_of(tmp_path)
    study_of(tmp_path, budget=25, name="part")
    resumed = study_of(tmp_path, budget=40, name="part")
    assert [replace(trial, seconds=0) for trial in resumed.ended()] == [
        replace(trial, seconds=0) for trial in whole.ended()
    ]


@pytest.mark.parametrize("sampler", ["pareto", "nsga2", "tpe"])
def test_samplers_go_on_with_raced_trials_behind_them(tmp_path, sampler):
    study = study_of(tmp_path, sampler=sampler_named(sampler, seed=1))
    assert sum(trial.is_paid for trial in study.ended()) == 40
    assert any(trial.state is State.RACED for trial in study.ended())
