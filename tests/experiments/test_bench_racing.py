"""Replaying races over recorded curves."""

import math
from dataclasses import replace

import pytest

from engine.space import Candidate
from engine.trial import Point, State, Trial
from experiments.bench_racing import areas, compared, replayed, replayed_in_folds, trained_share


def recorded(number, size, final, early):
    candidate = Candidate.of({"n": number})
    point = Point(candidate, {"error": final, "bytes": float(size)})
    return Trial(number, candidate, State.COMPLETE, (point,), seconds=10.0, curve=((0.1, early), (0.5, early)))


def search(count=40):
    """Trials of rising size: every second one is good, and every curve tells at once how it ends."""
    finals = [0.5 * 0.93**number * (1 if number % 2 == 0 else 3) for number in range(count)]
    return [recorded(number, 1000 + 100 * number, final, 1.2 * final) for number, final in enumerate(finals)]


def test_hopeless_trials_are_stopped_early_and_the_front_stays():
    trials = search()
    found = replayed(trials, lag=2)
    assert found.raced[0] >= 15
    assert found.area == pytest.approx(1.0)
    assert found.log_area == pytest.approx(1.0)
    assert found.seconds == pytest.approx(1 - 0.9 * found.raced[0] / 40)


def test_what_is_not_known_yet_decides_nothing():
    assert replayed(search(), lag=100).raced[0] == 0
    assert replayed(search(6), lag=2).raced[0] == 0


def test_searches_are_compared_by_front_time_and_work():
    whole = search(4)
    stopped = replace(whole[3], state=State.RACED, points=(), seconds=1.0, curve=((0.1, 0.9),), estimate=0.9)
    found = compared(whole, [*whole[:3], stopped], lambda candidate: 1.0 + candidate["n"])
    assert trained_share(stopped) == 0.1
    assert found.seconds == pytest.approx(31 / 40)
    assert found.work == pytest.approx((1 + 2 + 3 + 0.4) / 10)
    assert found.raced == (1, 4)
    assert found.area == pytest.approx(1.0), "the fourth was not on the front"


def test_areas_are_below_an_error_of_one_and_65536_bytes():
    area, log_area = areas([recorded(0, 6553.6, 0.1, 0.1)])
    assert area == pytest.approx(0.9)
    assert log_area == pytest.approx(1.0)
    assert math.isclose(areas([])[0], 0.0)


def test_trials_in_folds_are_raced_over_their_first_fold():
    def in_folds(number, error):
        values = {"error": error, "error_se": 0.01, "last_fold_error": error + 0.05, "bytes": 1000.0 + number}
        point = Point(Candidate.of({"n": number}), values)
        return Trial(number, point.candidate, State.COMPLETE, (point,), seconds=10.0)

    trials = [in_folds(number, 0.2 if number % 2 else 0.4) for number in range(10)]
    found = replayed_in_folds(trials, lag=1, folds=5)
    assert found.raced == (4, 10), "those as bad as the first, once a good one is known"
    assert found.area == pytest.approx(1.0)
    assert found.seconds == pytest.approx((6 * 10 + 4 * 2) / 100)
