import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import StudyError
from engine.front import Front, hypervolume, is_dominated
from engine.plots import knee_card
from engine.space import Candidate
from engine.trial import Point

# Few distinct values, so that ties, equal points and points on one line come up often.
pairs = st.tuples(st.integers(0, 8), st.integers(1, 8))
many = st.lists(pairs, max_size=12)
REFERENCE = (9, 9)


def points_of(some):
    return [
        Point(Candidate.of({"place": place}), {"error": error / 10, "bytes": float(cost)})
        for place, (error, cost) in enumerate(some)
    ]


@given(many)
def test_no_member_is_dominated_and_every_other_point_is(some):
    points = points_of(some)
    front = Front.of(points)
    members = front.pairs()
    assert not any(is_dominated(member, members) for member in members)
    for point in points:
        pair = (point.values["error"], point.values["bytes"])
        assert is_dominated(pair, members) or pair in members
    assert len(set(members)) == len(members)


@given(many)
def test_members_are_ordered_from_accurate_to_small(some):
    members = Front.of(points_of(some)).pairs()
    assert members == sorted(members)
    assert [cost for _, cost in members] == sorted((cost for _, cost in members), reverse=True)


@given(many, st.randoms(use_true_random=False))
def test_the_order_of_points_does_not_matter(some, random):
    points = points_of(some)
    shuffled = random.sample(points, len(points))
    assert Front.of(points) == Front.of(shuffled)


@given(many, pairs)
def test_a_dominated_point_changes_nothing(some, extra):
    points = points_of(some)
    front = Front.of(points)
    (added,) = points_of([extra])
    if is_dominated((added.values["error"], added.values["bytes"]), front.pairs()):
        assert Front.of([*points, added]) == front


@given(many)
def test_the_front_of_a_front_is_itself(some):
    front = Front.of(points_of(some))
    assert Front.of(front) == front


@given(many, st.integers(0, 9))
def test_below_the_floor_only_the_most_accurate_counts(some, floor):
    points = points_of(some)
    front = Front.of(points, floor=floor)
    small = [point for point in points if point.values["bytes"] <= floor]
    kept = [point for point in front if point.values["bytes"] <= floor]
    if small:
        assert [point.values for point in kept] == [
            min((point.values for point in small), key=lambda v: (*v.values(),))
        ]
    least = min((point.values["error"] for point in small), default=math.inf)
    large = [member for member in Front.of(points) if member.values["bytes"] > floor and member.values["error"] < least]
    assert [*front] == [*large, *kept]
    counted = points_of([(error, max(cost, floor)) for error, cost in some])
    assert front.hypervolume(cost=100) == pytest.approx(Front.of(counted).hypervolume(cost=100))


def test_points_without_a_finite_error_are_left_out():
    points = [Point(Candidate.of({"n": 1}), {"error": bad, "bytes": 1.0}) for bad in (math.nan, math.inf)]
    assert len(Front.of(points)) == 0


@given(many)
def test_hypervolume_is_the_number_of_dominated_squares(some):
    squares = sum(
        any(error <= column and cost <= row for error, cost in some)
        for column, row in itertools.product(range(REFERENCE[0]), range(REFERENCE[1]))
    )
    assert hypervolume(some, REFERENCE) == squares


@given(many, pairs)
def test_another_point_never_shrinks_the_hypervolume(some, extra):
    before, after = hypervolume(some, REFERENCE), hypervolume([*some, extra], REFERENCE)
    assert after >= before
    if is_dominated(extra, some) or extra in some:
        assert after == before
    else:
        assert after > before


def test_a_front_measures_cost_by_ratio():
    front = Front.of(points_of([(5, 1), (2, 100)]))
    assert front.hypervolume(cost=1000) == pytest.approx(0.5 * 3 + 0.3 * 1)
    assert Front(()).hypervolume(cost=1000) == 0.0


@given(many.filter(bool), st.integers(1, 8), st.integers(0, 8))
def test_questions_are_answered_from_the_front(some, limit, tenths):
    points = points_of(some)
    front = Front.of(points)
    assert front.knee() in front.points
    fitting = [point for point in points if point.values["bytes"] <= limit]
    if fitting:
        assert front.best_under(bytes=limit).values["error"] == min(point.values["error"] for point in fitting)
    else:
        with pytest.raises(StudyError, match=f"is within {limit} bytes; the smallest has {min(c for _, c in some)}"):
            front.best_under(bytes=limit)
    good = [point for point in points if point.values["error"] <= tenths / 10]
    if good:
        assert front.smallest_within(error=tenths / 10).values["bytes"] == min(p.values["bytes"] for p in good)
    else:
        with pytest.raises(StudyError, match=rf"an error of at most {tenths / 10}; the best has 0\.\d000"):
            front.smallest_within(error=tenths / 10)


def test_the_knee_is_far_from_the_line_between_the_ends():
    front = Front.of(points_of([(8, 1), (3, 2), (2, 20), (1, 400)]))
    assert front.knee().values["bytes"] == 2.0


@pytest.mark.parametrize(
    "ask", [lambda f: f.knee(), lambda f: f.best_under(bytes=9), lambda f: f.smallest_within(error=0.5)]
)
def test_an_empty_front_says_so(ask):
    with pytest.raises(StudyError, match="The front is empty: no trial has given a file yet"):
        ask(Front(()))


def test_the_picture_and_the_words_name_one_knee():
    pairs = [(0.09, 21_372), (0.11, 3_080), (0.21, 1_249), (0.61, 570)]
    cards = [{"validation": {"error": error}, "bytes": cost} for error, cost in pairs]
    points = [Point(Candidate.of({"w": cost}), {"error": error, "bytes": cost}) for error, cost in pairs]
    assert knee_card(cards)["bytes"] == Front.of(points).knee().values["bytes"] == 3_080
