"""A search that has grown: thousands of trials, a front of a thousand points."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.artifact import Artifact
from engine.backends import Outcome
from engine.front import Front
from engine.objective import Objective, Problem
from engine.plots import front_picture
from engine.progress import Status, draw, plain_line
from engine.record import RunFolder
from engine.samplers.pareto import ParetoSampler
from engine.samplers.random import RandomSampler
from engine.space import Candidate, Int, Space
from engine.study import Study
from engine.trial import Point, State, Trial
from engine.work import Done

POINTS = st.lists(
    st.builds(
        lambda number, error, size: Point(Candidate.of({"n": number}), {"error": error, "bytes": size}, str(number)),
        st.integers(0, 9),
        st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.4, float("nan"), float("inf")]),
        st.sampled_from([1.0, 2.0, 3.0, 4.0]),
    ),
    max_size=12,
)


def ids(front):
    return [(point.values, point.candidate, point.sha256) for point in front]


@given(POINTS, POINTS, st.sampled_from([0.0, 2.0, 2.5]))
def test_a_front_joined_by_points_is_the_front_of_them_all(first, more, floor):
    front = Front.of(first, floor=floor)
    joined = front.joined_by(more)
    assert ids(joined) == ids(Front.of([*first, *more], floor=floor))
    if ids(joined) == ids(front):
        assert joined is front


def front_of(count):
    return [
        Point(Candidate.of({"n": n}), {"error": 0.5 * 0.995**n, "bytes": 500.0 + 10 * n}, f"{n:064x}")
        for n in range(count)
    ]


def test_a_front_of_a_thousand_points_is_kept_measured_and_shown():
    points, front = front_of(1000), Front(())
    for point in points[::2] + points[1::2]:
        front = front.joined_by([point])
    assert len(front) == 1000
    assert front == Front.of(points)
    assert 0 < front.hypervolume(cost=1e6) < 4
    assert front.knee() in points
    assert front.best_under(bytes=5000).values["bytes"] <= 5000
    status = Status("search", 10**5, 1000, 1000, 0, 0, 0, 0, front, 1.0, 1.0)
    assert "front 1000" in plain_line(status)
    draw(status)
    trials = [Trial(n, point.candidate, State.COMPLETE, (point,)) for n, point in enumerate(points)]
    cards = [
        {
            "member": n,
            "metric": "accuracy",
            "validation": {"error": point.values["error"]},
            "bytes": point.values["bytes"],
        }
        for n, point in enumerate(points)
    ]
    front_picture(cards, trials)


class Instant:
    """Ends each trial at once, without a file: what is left is what the search itself does."""

    slots = 1

    def __init__(self):
        self.queue = []

    def submit(self, task):
        self.queue.append(task)

    def wait(self):
        task = self.queue.pop(0)
        size = float(task.candidate["size"])
        point = Point(task.candidate, {"error": 0.01 + 0.9 / (1 + size / 1000), "bytes": size}, task.candidate.key)
        return Outcome(task, Done((point,), (Artifact(b""),)))


class Counted:
    """A sampler, and how often it was asked."""

    def __init__(self, sampler):
        self.sampler, self.asked = sampler, 0

    def propose(self, *arguments):
        self.asked += 1
        return self.sampler.propose(*arguments)


def run_study(folder, sampler, budget, *, is_pure=True):
    space = Space({"size": Int(1, 10**6)})
    problem = Problem(space, Objective("error"), Objective("bytes"), lambda c: c, lambda c: float(c["size"]), budget)
    _, recorded = folder.open({"lag": 4})
    study = Study(problem, sampler, Instant(), folder, 1, 4, recorded, is_pure=is_pure)
    study.run()
    return study


@pytest.mark.parametrize("sampler", [RandomSampler, ParetoSampler])
def test_resuming_asks_a_pure_sampler_for_few_of_the_trials_it_proposed(tmp_path, sampler):
    folder = RunFolder(tmp_path / "run")
    whole = run_study(folder, sampler(), 40)
    assert len(whole.trials) == 40
    again = Counted(sampler())
    longer = run_study(folder, again, 44)
    assert again.asked == 3 + 4  # 0, 1 and 16 to compare, 40 to 43 because they are new
    fresh = run_study(RunFolder(tmp_path / "fresh"), sampler(), 44)
    assert [trial.candidate for trial in longer.ended()] == [trial.candidate for trial in fresh.ended()]
    impure = Counted(sampler())
    run_study(folder, impure, 44, is_pure=False)
    assert impure.asked == 44


@pytest.mark.parametrize("sampler", [RandomSampler, ParetoSampler])
def test_a_trial_missing_from_the_middle_is_proposed_and_run_again(tmp_path, sampler):
    folder = RunFolder(tmp_path / "run")
    whole = run_study(folder, sampler(), 40)
    lines = folder.trials_path.read_text().splitlines(keepends=True)
    folder.trials_path.write_text("".join(lines[:23] + lines[25:]))
    again = run_study(folder, sampler(), 40)
    assert [(t.number, t.candidate, t.points) for t in again.ended()] == [
        (t.number, t.candidate, t.points) for t in whole.ended()
    ]
    assert sorted(folder.load()) == list(range(40))


@pytest.mark.slow
def test_ten_thousand_trials_are_gone_on_with(tmp_path):
    folder = RunFolder(tmp_path / "run")
    run_study(folder, RandomSampler(), 10_000)
    sampler = Counted(RandomSampler())
    longer = run_study(folder, sampler, 10_010)
    assert len(longer.trials) >= 10_010
    assert sampler.asked <= 20
    assert longer.front.points == Front.of(point for trial in longer.ended() for point in trial.points).points
