"""How much time a search keeps back for its finisher."""

from dataclasses import dataclass, field

import pytest

from engine.deadline import Deadline
from engine.front import Front
from engine.reserve import FINISH_SHARE, LEAST_SHARE, Reserve
from engine.space import Candidate
from engine.trial import Point, State, Trial
from engine.winners import seconds_to_teach


def trial(number, seconds, count=1):
    """A trial with so many files, each on the front: the larger, the better."""
    made = [Candidate.of({"number": number, "place": place}) for place in range(count)]
    points = [
        Point(one, {"error": 1.0 / (1 + 10 * number + place), "bytes": 1.0 + 10 * number + place})
        for place, one in enumerate(made)
    ]
    return Trial(number, made[0], State.COMPLETE, tuple(points), seconds)


@dataclass
class Searched:
    """What is asked of a study."""

    front: Front = field(default_factory=lambda: Front(()))
    deadline: Deadline | None = None


def kept_share(trials, *, folds=1, members=48, slots=2, trainings=2.0):
    reserve, study = Reserve(1000.0, 100.0, slots, folds, trainings, members), Searched()
    for one in trials:
        study.front = study.front.joined_by(one.points)
        reserve.told(study, one)
    return 1 - (study.deadline.moment - 1000.0) / 100.0


def test_a_quick_front_leaves_more_time_to_search():
    assert kept_share([trial(0, 0.1)]) == pytest.approx(LEAST_SHARE)
    assert kept_share([trial(0, 50.0)]) == pytest.approx(FINISH_SHARE)
    between = kept_share([trial(0, 3.0), trial(1, 3.0)])
    assert LEAST_SHARE < between < FINISH_SHARE
    assert between < kept_share([trial(0, 3.0), trial(1, 4.0)])


def test_what_the_finisher_takes_is_expected_without_a_limit_too():
    reserve, study = Reserve(1000.0, None, 2, 1, 10.0, 48), Searched()
    study.front = study.front.joined_by(trial(0, 4.0).points)
    reserve.told(study, trial(0, 4.0))
    assert reserve.expected_seconds == pytest.approx(10 * (4.0 / 2 + 4.0), rel=0.02), "a teacher, then the winner"
    assert study.deadline is None


def test_small_members_are_expected_to_train_for_longer_where_the_family_tells_how_small():
    reserve, study = Reserve(1000.0, None, 2, 1, 10.0, 48, 2, lambda one: 900 if one["number"] else 100), Searched()
    for one in (trial(0, 1.0), trial(1, 4.0)):
        study.front = study.front.joined_by(one.points)
        reserve.told(study, one)
    taught = seconds_to_teach(4.0, 2, 2)
    assert reserve.expected_seconds == pytest.approx(10 * ((4.0 + 3 * 1.0) / 2 + taught), rel=0.02)


def test_each_file_is_trained_again_on_one_fold():
    in_folds = kept_share([trial(0, 15.0), trial(1, 15.0)], folds=5)
    assert in_folds == pytest.approx(kept_share([trial(0, 3.0), trial(1, 3.0)]))
    assert kept_share([trial(0, 3.0, count=3)]) > kept_share([trial(0, 3.0)]), "each of three sizes alone"
    assert kept_share([trial(0, 50.0)], members=0) == pytest.approx(LEAST_SHARE), "none is trained again"
    assert kept_share([trial(0, 3.0, count=3)], members=1) < kept_share([trial(0, 3.0, count=3)])


def test_a_repeated_trial_does_not_make_its_files_cheap():
    first = trial(0, 4.0)
    again = Trial(1, first.candidate, State.CACHED, first.points, 0.0, twin=0)
    assert kept_share([first, again, trial(1, 1.0)]) == pytest.approx(kept_share([first, trial(1, 1.0)]))
