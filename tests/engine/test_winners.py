"""Which members of a front are trained long, and which of them while there is time."""

from dataclasses import replace

from finishing import Search
from toy import candidate

from engine.deadline import Deadline
from engine.front import Front
from engine.trial import Point
from engine.winners import count_in_time, spread


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


def test_quick_winners_come_first_when_the_time_is_short(tmp_path, monkeypatch):
    search = Search(tmp_path / "run")
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    keys = [point.candidate.key for point in search.study.front]
    trials = [
        replace(trial, seconds=1.0 if trial.candidate.key in keys[:2] else 100.0) for trial in search.study.ended()
    ]
    search.finisher(deadline=Deadline(1007.0)).run(search.study.front, trials)
    assert {found.key for found, _, _ in search.family.finished} == set(keys[:2])  # 2 trials x effort 3 = 6 seconds
    search.family.finished.clear()
    search.finisher(deadline=Deadline(1007.0), refit=True).run(search.study.front, trials)
    assert len(search.family.finished) == 1  # a refit takes as long again
