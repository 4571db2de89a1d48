"""The best of many candidates, though few of their costs are told."""

from collections import Counter

import numpy as np
import pytest

from engine.objective import Objective, Problem
from engine.samplers.belief import Belief
from engine.samplers.choosing import Choosing
from engine.samplers.history import History
from engine.samplers.pool import Draw
from engine.samplers.rough import RoughCost
from engine.space import Choice, Int, Space
from engine.trial import Point, State, Trial

SPACE = Space({"width": Int(1, 64, log=True), **{f"op{k}": Choice(("a", "b", "none")) for k in range(4)}})


def cost(candidate):
    return 100.0 + candidate["width"] * (3 + sum(candidate[f"op{k}"] == "a" for k in range(4)))


def error(candidate):
    good = sum(candidate[f"op{k}"] == "a" for k in range(4))
    return 0.6 / candidate["width"] ** 0.4 + 0.05 * (4 - good)


def study(*, limit=None, noise=0.0):
    """What forty trials teach, candidates that are new, and how often each cost is asked for."""
    asked = Counter()

    def exact(candidate):
        asked[candidate.key] += 1
        return cost(candidate) * (1 + noise * (int(candidate.key, 16) % 97) / 97)

    problem = Problem(
        SPACE, Objective("error"), Objective("bytes", limit=limit), lambda candidate: candidate, exact, 100,
        features=lambda candidate: (np.log(cost(candidate)),),
    )  # fmt: skip
    rng, trials = np.random.default_rng(0), []
    for number in range(40):
        candidate = SPACE.sample(rng)
        values = {"error": error(candidate), "bytes": exact(candidate)}
        trials.append(Trial(number, candidate, State.COMPLETE, (Point(candidate, values),)))
    history = History(problem)
    belief = Belief.of(history, history.tell(trials), [])
    tried = {trial.candidate for trial in trials}
    new = [candidate for candidate in dict.fromkeys(SPACE.sample(rng) for _ in range(150)) if candidate not in tried]
    asked.clear()
    return belief, [Draw(candidate, history.examine(candidate)) for candidate in new], asked


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_the_best_is_found_though_few_costs_are_told(noise):
    belief, draws, asked = study(noise=noise)
    choosing = Choosing(belief)
    likely = choosing.likely(draws, 8)
    assert not asked
    found = choosing.best(draws)
    assert len(asked) < len(draws) / 3
    assert max(asked.values()) == 1
    gains = dict(
        zip((draw.model.canonical for draw in draws), belief.gains([draw.model for draw in draws]), strict=True)
    )
    assert gains[found.model.canonical] == pytest.approx(max(gains.values()), abs=0.05)
    assert max(gains[draw.model.canonical] for draw in likely) == pytest.approx(max(gains.values()), abs=0.2)


def test_none_above_the_limit_is_chosen():
    belief, draws, _ = study(limit=200.0, noise=0.1)
    choosing = Choosing(belief)
    assert any(not draw.model.is_allowed for draw in draws)
    assert choosing.best(draws).model.is_allowed
    assert choosing.best([draw for draw in draws if not draw.model.is_allowed]) is None
    assert all(choosing.fits(draw.model) for draw in draws if draw.model.log_cost < np.log(180))
    assert not any(choosing.fits(draw.model) for draw in draws if draw.model.log_cost > np.log(300))


def test_what_is_chosen_does_not_depend_on_what_was_told_before():
    first, draws, _ = study(noise=0.3)
    for draw in draws[::2]:
        assert draw.model.log_cost > 0
    fresh, others, _ = study(noise=0.3)
    assert Choosing(first).best(draws).model.canonical == Choosing(fresh).best(others).model.canonical


def test_rough_costs_know_how_far_off_they_are():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((120, 5))
    costs = features @ rng.standard_normal(5) + 0.2 * rng.standard_normal(120)
    rough = RoughCost.of(features[:60], costs[:60])
    off = rough.expected(features[60:]) - costs[60:]
    assert np.sqrt((off**2).mean()) == pytest.approx(rough.spread, rel=0.3)


def test_one_column_that_tells_the_cost_is_believed_beside_a_hundred_that_do_not():
    rng = np.random.default_rng(3)
    genes = (rng.random((160, 100)) < 0.2).astype(float)
    costs = rng.normal(8.0, 1.0, 160)
    about = 0.1 * (costs + rng.normal(0.0, 0.05, 160))  # small numbers, as families tell them
    features = np.column_stack([genes, about, np.ones(160)])  # and one that is always the same
    rough = RoughCost.of(features[:60], costs[:60])
    off = float(np.sqrt(np.mean((rough.expected(features[60:]) - costs[60:]) ** 2)))
    assert off < 0.2, "of a spread of 1"
    assert 0.5 < rough.spread / off < 2.0
