"""The parts of the Pareto sampler against slower ways to the same numbers."""

import math
from dataclasses import replace

import numpy as np
import pytest

from engine.objective import Objective, Problem
from engine.samplers.belief import Belief
from engine.samplers.encoding import REACH, Encoding
from engine.samplers.gain import expected_gain, staircase
from engine.samplers.history import History
from engine.samplers.pareto import MANY, ParetoSampler
from engine.samplers.surrogate import Surrogate, _loss, fitted_scales
from engine.space import Candidate, Choice, Int, Space
from engine.trial import Point, State, Trial

SPACE = Space({"width": Int(1, 64, log=True), **{f"op{k}": Choice(("a", "b", "none")) for k in range(3)}})


def problem(features=None, exact_cost=None, portfolio=()):
    return Problem(
        SPACE,
        Objective("error"),
        Objective("bytes"),
        lambda candidate: candidate,
        exact_cost or (lambda candidate: 10.0 * candidate["width"]),
        100,
        features=features,
        portfolio=portfolio,
    )


def trials_of(n, error, *, seed=0):
    rng = np.random.default_rng(seed)
    found = []
    for number in range(n):
        candidate = SPACE.sample(rng)
        values = {"error": error(candidate), "bytes": 10.0 * candidate["width"]}
        found.append(Trial(number, candidate, State.COMPLETE, (Point(candidate, values),)))
    return found


def simple_error(candidate):
    good = sum(candidate[f"op{k}"] == "a" for k in range(3))
    return 0.6 / candidate["width"] ** 0.4 + 0.05 * (3 - good)


def volume(costs, errors, end, reference):
    """The area between the staircase and the corner, by hand."""
    order = staircase(np.array(costs), np.array(errors))
    total = 0.0
    for step, place in enumerate(order):
        right = costs[order[step + 1]] if step + 1 < len(order) else end
        total += (right - costs[place]) * max(0.0, reference - errors[place])
    return total


def test_the_gain_is_the_mean_growth_of_the_hypervolume():
    rng = np.random.default_rng(0)
    front_costs, front_errors = np.array([1.0, 2.0, 3.5]), np.array([-1.0, -1.4, -2.0])
    costs = np.array([0.5, 2.0, 2.6, 4.0])
    mean, spread = np.array([-0.8, -1.6, -1.2, -2.1]), np.array([0.3, 0.2, 0.5, 0.1])
    found = expected_gain(front_costs, front_errors, costs, mean, spread)
    end, reference = 4.0 + 0.05 * 3.5, -1.0 + 0.1
    before = volume(front_costs, front_errors, end, reference)
    for k in range(4):
        draws = mean[k] + spread[k] * rng.standard_normal(4000)
        grown = [volume([*front_costs, costs[k]], [*front_errors, drawn], end, reference) - before for drawn in draws]
        assert found[k] == pytest.approx(np.mean(grown), abs=5 * np.std(grown) / math.sqrt(4000) + 1e-9)


def test_the_gradient_of_the_likelihood_is_its_slope():
    rng = np.random.default_rng(1)
    places = rng.random((2, 12))
    apart = (places[:, :, None] - places[:, None]) ** 2
    at, targets, prior = np.array([-0.5, 0.3, -2.0]), rng.standard_normal(12), np.array([-1.0, -1.0, -3.5])
    _, gradient = _loss(at, apart, targets, prior)
    for k in range(3):
        step = np.eye(3)[k] * 1e-5
        slope = (_loss(at + step, apart, targets, prior)[0] - _loss(at - step, apart, targets, prior)[0]) / 2e-5
        assert gradient[k] == pytest.approx(slope, rel=1e-4, abs=1e-6)


def test_the_surrogate_finds_which_feature_matters_and_how_surely_it_knows():
    rng = np.random.default_rng(2)
    features, groups = rng.random((60, 3)), np.array([0, 1, 2])
    values = np.sin(4 * features[:, 1]) + 0.01 * rng.standard_normal(60)
    scales = fitted_scales(features, groups, values)
    assert scales[1] > scales[0] + 1
    assert scales[1] > scales[2] + 1
    surrogate = Surrogate.conditioned(features, groups, values, scales)
    new = rng.random((200, 3))
    mean, spread = surrogate.predict(new)
    assert np.corrcoef(mean, np.sin(4 * new[:, 1]))[0, 1] > 0.99
    _, far = surrogate.predict(new + 3)
    assert far.min() > spread.max()


def test_surprises_are_those_of_leaving_each_row_out():
    rng = np.random.default_rng(3)
    features, groups, scales = rng.random((9, 2)), np.array([0, 1]), np.array([0.5, 0.0, -2.0])
    targets = rng.standard_normal(9)
    targets = (targets - targets.mean()) / targets.std()  # so that leaving one out moves neither center nor scale much
    surrogate = Surrogate.conditioned(features, groups, targets, scales)
    scaled = features * np.exp(0.5 * scales[:2])
    distance = np.sqrt(5) * np.linalg.norm(scaled[:, None] - scaled, axis=2)
    kernel = (1 + distance + distance**2 / 3) * np.exp(-distance) + (np.exp(-2.0) + 1e-6) * np.eye(9)
    for left in range(9):
        rest = [k for k in range(9) if k != left]
        weights = np.linalg.solve(kernel[np.ix_(rest, rest)], kernel[rest, left])
        variance = surrogate.variance * (kernel[left, left] - weights @ kernel[rest, left])
        expected = (targets[left] - weights @ targets[rest]) ** 2 / variance
        assert surrogate.surprises()[left] == pytest.approx(expected, rel=1e-6)


def test_counts_do_not_depend_on_the_order_of_alike_genes():
    encode = Encoding(problem(features=lambda candidate: [candidate["width"] / 64]))
    one = encode(Candidate.of({"width": 8, "op0": "a", "op1": "b", "op2": "none"}))
    two = encode(Candidate.of({"width": 8, "op0": "none", "op1": "a", "op2": "b"}))
    groups = encode.groups(len(one) + 1)
    assert groups.max() == 3
    assert not np.array_equal(one[groups[:-1] == 0], two[groups[:-1] == 0])
    assert np.array_equal(one[groups[:-1] == 1], two[groups[:-1] == 1])
    assert one[-1] == 8 / 64
    far = encode(Candidate.of({"width": 64, "op0": "b", "op1": "none", "op2": "a"}))
    near = encode(Candidate.of({"width": 1, "op0": "a", "op1": "a", "op2": "b"}))
    assert np.linalg.norm((far - near)[groups[:-1] == 0]) == pytest.approx(REACH)


@pytest.mark.parametrize("exact_cost", [None, lambda _: None], ids=["exact", "learned"])
def test_what_is_pending_is_not_asked_for_again(exact_cost):
    history = History(problem(exact_cost=exact_cost))
    rows = history.tell(trials_of(40, simple_error))
    rng = np.random.default_rng(5)
    models = [history.examine(SPACE.sample(rng)) for _ in range(100)]
    gains = Belief.of(history, rows, []).gains(models)
    best = int(np.argmax(gains))
    after = Belief.of(history, rows, [models[best]]).gains(models)
    assert after[best] < gains[best]


def test_a_history_told_other_trials_forgets():
    history = History(problem())
    one, other = trials_of(20, simple_error), trials_of(20, simple_error, seed=1)
    history.tell(one)
    history.tell(other[:7])
    fresh = History(problem())
    told, expected = history.tell(other), fresh.tell(other)
    assert history.known == fresh.known
    assert history.n_paid == fresh.n_paid == 20
    assert np.array_equal(told.errors, expected.errors)


def test_one_more_failure_does_not_change_what_is_known_of_files():
    history = History(problem())
    trials = trials_of(20, simple_error)
    front = history.tell(trials).front
    failed = Trial(20, SPACE.sample(np.random.default_rng(9)), State.FAILED, error="out of memory")
    rows = history.tell([*trials, failed])
    assert np.array_equal(rows.front, front)
    assert math.isinf(rows.errors[20])


def test_where_costs_are_learned_and_trials_fail_a_proposal_depends_on_its_arguments_alone():
    wanted = problem(exact_cost=lambda _: None)
    trials = [
        Trial(trial.number, trial.candidate, State.FAILED) if trial.number < 9 or trial.number % 3 == 0 else trial
        for trial in trials_of(40, simple_error)
    ]
    used = ParetoSampler()
    for number in (17, 25, 31, 39):
        fresh = ParetoSampler().propose(wanted, trials[:number], [], np.random.default_rng(number))
        assert used.propose(wanted, trials[:number], [], np.random.default_rng(number)) == fresh


def test_a_search_begins_with_the_portfolio_far_apart_in_cost():
    rng = np.random.default_rng(0)
    members = tuple(SPACE.sample(rng).replace(width=width) for width in (1, 2, 8, 32, 64))
    asked, sampler, trials = problem(portfolio=members), ParetoSampler(), []
    for number in range(7):
        proposed = sampler.propose(asked, trials, [], rng)
        values = {"error": simple_error(proposed), "bytes": 10.0 * proposed["width"]}
        trials.append(Trial(number, proposed, State.COMPLETE, (Point(proposed, values),)))
    widths = [trial.candidate["width"] for trial in trials]
    assert widths[0] == 8
    assert set(widths[1:3]) == {1, 64}
    assert sorted(widths[:5]) == [1, 2, 8, 32, 64]
    assert [trial.candidate for trial in trials[5:]] != list(members[:2])


def test_members_above_the_limit_are_left_out():
    rng = np.random.default_rng(0)
    members = tuple(SPACE.sample(rng).replace(width=width) for width in (1, 64))
    asked = problem(portfolio=members)
    limited = replace(asked, cost=replace(asked.cost, limit=300.0))
    assert ParetoSampler().propose(limited, [], [], rng) == members[0]
    first = Trial(0, members[0], State.COMPLETE, (Point(members[0], {"error": 0.5, "bytes": 10.0}),))
    assert ParetoSampler().propose(limited, [first], [], rng)["width"] <= 30


def test_after_many_trials_half_as_many_candidates_are_compared():
    space = Space({f"op{place}": Choice(("a", "b", "c", "d")) for place in range(10)})
    examined = set()

    def canonical(candidate):
        examined.add(candidate)
        return candidate

    def cost(candidate):
        return 10.0 + sum(ord(value) for value in candidate.genes.values())

    asked = Problem(space, Objective("error"), Objective("bytes"), canonical, cost, 100)
    rng, trials = np.random.default_rng(0), []
    for number in range(MANY + 1):
        candidate = space.sample(rng)
        values = {"error": float(rng.uniform(0.1, 1.0)), "bytes": cost(candidate)}
        trials.append(Trial(number, candidate, State.COMPLETE, (Point(candidate, values),)))
    counts = []
    for n_trials in (MANY, MANY + 1):
        sampler = ParetoSampler()
        sampler.propose(asked, trials[:n_trials], (), np.random.default_rng(1))  # examines trials as well
        examined.clear()
        sampler.propose(asked, trials[:n_trials], (), np.random.default_rng(2))
        counts.append(len(examined))
    assert counts[0] > 100
    assert 0.4 < counts[1] / counts[0] < 0.6
