"""Which members of a front are trained long, and which of them while there is time."""

from dataclasses import replace

import pytest
from finishing import Search
from toy import Toy, candidate

from engine.deadline import Deadline
from engine.front import Front
from engine.trial import Point
from engine.winners import count_in_time, patiences, seconds_by_key, seconds_to_test, spread


def points_of(*pairs):
    return [
        Point(candidate(1 + n), {"error": error, "bytes": size}, f"{n:064d}") for n, (error, size) in enumerate(pairs)
    ]


def test_members_are_spread_over_the_sizes():
    front = Front.of(points_of(*((0.5 - n / 100, 100 * 1.1**n) for n in range(20))))
    for count in range(2, 20):
        chosen = spread(front, count)
        assert len(chosen) == count
        assert chosen[0] is front.points[0]
        assert chosen[-1] is front.points[-1]
        assert [front.points.index(point) for point in chosen] == sorted({front.points.index(p) for p in chosen})


def test_the_middle_is_where_the_gap_in_ratio_is_widest():
    front = Front.of(points_of((0.4, 100), (0.3, 1000), (0.2, 5000), (0.1, 10_000)))
    assert [point.values["bytes"] for point in spread(front, 3)] == [10_000, 1000, 100]


def test_a_small_front_is_finished_whole_and_one_member_is_the_best():
    front = Front.of(points_of((0.4, 100), (0.3, 1000)))
    assert spread(front, 2) == list(front.points)
    assert spread(front, 16) == list(front.points)
    assert spread(front, 1) == [front.points[0]]


def test_tasks_take_slots_as_they_get_free():
    costs = [1.0, 2.0, 3.0, 4.0]
    assert [count_in_time(costs, left, slots=1) for left in (1.0, 1.1, 3.1, 6.1, 10.1)] == [0, 1, 2, 3, 4]
    assert [count_in_time(costs, left, slots=2) for left in (1.1, 2.1, 4.1, 6.1)] == [1, 2, 3, 4]
    assert count_in_time([], 0.0, slots=1) == 0


def test_when_the_time_is_up_nothing_is_trained(tmp_path):
    search = Search(tmp_path / "run")
    members = search.finish(deadline=Deadline(0.0))
    assert not search.family.finished
    assert [m.point for m in members] == list(search.study.front)


class Timed:
    """A backend whose tasks seem to take so many seconds each."""

    def __init__(self, inner, seconds):
        self.inner, self.seconds = inner, seconds
        self.slots, self.submit = inner.slots, inner.submit

    def wait(self):
        outcome = self.inner.wait()
        return replace(outcome, result=replace(outcome.result, seconds=self.seconds))


def finished_in(search, seconds, monkeypatch):
    """Finish with seven seconds left, two of the trials having taken a second each and the others a hundred."""
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    keys = [point.candidate.key for point in search.study.front]
    trials = [
        replace(trial, seconds=1.0 if trial.candidate.key in keys[:2] else 100.0) for trial in search.study.ended()
    ]
    backend = Timed(search.backend(), seconds)
    search.finisher(backend=backend, deadline=Deadline(1007.0)).run(search.study.front, trials)
    return keys, [found.key for found, _, _ in search.family.finished]


def test_quick_winners_come_first_and_tell_what_others_would_take(tmp_path, monkeypatch):
    search = Search(tmp_path / "run")
    keys, finished = finished_in(search, 3.0, monkeypatch)  # three trainings of a trial: 300 seconds for the others
    assert sorted(finished) == sorted(keys[:2])


def test_winners_that_train_quicker_than_supposed_are_all_trained(tmp_path, monkeypatch):
    search = Search(tmp_path / "run")
    keys, finished = finished_in(search, 0.01, monkeypatch)  # a second for the others, where effort 3 says 300
    assert set(finished[:2]) == set(keys[:2])
    assert sorted(finished) == sorted(keys)


def test_a_point_of_a_ladder_took_as_long_as_its_trial(tmp_path):
    search = Search(tmp_path / "run")
    first = search.study.ended()[0]
    rung = replace(first.points[0], candidate=candidate(99))
    trial = replace(first, seconds=7.0, points=(*first.points, rung))
    assert seconds_by_key([trial]) == {first.candidate.key: 7.0, candidate(99).key: 7.0}


def test_test_rows_are_timed_by_a_few_of_them(tmp_path):
    search = Search(tmp_path / "run")
    files = [search.folder.kept(point.sha256) for point in search.study.front]
    rows = search.data.rows
    assert 0 < seconds_to_test(files[:1], rows) < 60
    assert seconds_to_test([], rows) == 0


def test_small_winners_train_for_longer_and_never_take_as_long_as_the_slowest():
    assert patiences([9.0, 4.0, 1.0, 0.25, None]) == [1.0, 1.5, 3.0, 3.0, 1.0]
    assert patiences([]) == []
    assert patiences([None, 0]) == [1.0, 1.0]


def test_families_are_told_how_long_each_winner_trains(tmp_path, monkeypatch):
    told = {}
    plain = Toy.finish

    def finish(family, candidate, data, *, effort, **given):
        told[candidate["size"]] = effort
        return plain(family, candidate, data, effort=effort, **given)

    monkeypatch.setattr(Toy, "finish", finish)
    monkeypatch.setattr(Toy, "macs", lambda _family, candidate: candidate["size"])
    Search(tmp_path / "run").finish()
    largest = max(told)
    assert told == {size: pytest.approx(3.0 * min(3.0, (largest / size) ** 0.5)) for size in told}
    assert max(told.values()) > min(told.values()) == 3.0
