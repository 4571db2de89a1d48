import functools
import logging
import subprocess
import sys
import warnings

import numpy as np
import pytest

from engine.checks import sampler_checks
from engine.errors import MissingExtraError, SettingsError, SpaceError
from engine.front import Front
from engine.objective import Objective, Problem
from engine.samplers import optuna as adapter
from engine.samplers.optuna import OptunaSampler
from engine.samplers.pareto import ParetoSampler
from engine.samplers.random import RandomSampler
from engine.samplers.registry import SAMPLERS, sampler_named
from engine.space import Candidate, Choice, Condition, Float, Int, Space
from engine.trial import Point, State, Trial

SPACE = Space(
    {
        "kind": Choice(("conv", "tree")),
        "width": Int(4, 64, log=True),
        "rate": Float(1e-4, 1e-1, log=True),
        "bits": Choice((2, 4, 8), ordered=True),
        **{f"op{number}": Choice(("a", "b", "none")) for number in range(4)},
    },
    {f"op{number}": Condition("kind", ("conv",)) for number in range(4)},
)


def canonical(candidate):
    """The operation of an edge does not matter behind a cut."""
    if candidate.genes.get("op0") == "none":
        return candidate.replace(op1="none")
    return candidate


def cost(candidate):
    genes = canonical(candidate).genes
    edges = sum({"a": 3, "b": 1, "none": 0}[str(genes.get(f"op{number}", "b"))] for number in range(4))
    return 200.0 + int(genes["width"]) ** 2 * (1 + edges) * int(genes["bits"]) / 8


def error(candidate):
    genes = canonical(candidate).genes
    capacity = np.log(int(genes["width"])) * (1.2 if genes["kind"] == "conv" else 1.0)
    capacity *= 1 + 0.1 * sum(genes.get(f"op{number}") == "a" for number in range(4))
    return float(0.9 * np.exp(-capacity / 2.5) + 0.02 * (np.log10(float(genes["rate"])) + 2.5) ** 2 + 0.02)


def problem_with(*, limit=None, floor=0.0, exact_cost=cost, budget=40):
    size = Objective("bytes", limit=limit, floor=floor)
    return Problem(SPACE, Objective("error"), size, canonical, exact_cost, budget)


def trial_of(number, candidate, *, state=State.COMPLETE):
    points = (Point(canonical(candidate), {"error": error(candidate), "bytes": cost(candidate)}),)
    return Trial(number, candidate, state, points if state is State.COMPLETE else ())


def search(sampler, problem, *, n_trials=40, seed=0, lag=3):
    trials = []
    for number in range(n_trials):
        known = max(0, number - lag + 1)
        pending = [trial.candidate for trial in trials[known:]]
        candidate = sampler.propose(problem, trials[:known], pending, np.random.default_rng([seed, number]))
        trials.append(trial_of(number, candidate))
    return trials


def laws():
    for name in SAMPLERS:
        for law, check in sampler_checks():
            is_slow = name == "gp" and not law.startswith("survives")  # three seconds for each of its proposals
            yield pytest.param(name, check, id=f"{name}-{law}", marks=[pytest.mark.slow] if is_slow else [])


@pytest.mark.parametrize(("name", "check"), list(laws()))
def test_keeps_the_laws(name, check):
    check(functools.partial(sampler_named, name, seed=3))


@pytest.mark.parametrize("make", [ParetoSampler, RandomSampler])
def test_ours_are_pure_functions_of_their_arguments(make):
    problem = problem_with()
    trials = search(make(), problem, n_trials=25)
    used = make()
    for number in (24, 3, 12, 24):  # neither what it saw before nor the order of questions matters
        arguments = (problem, trials[: number - 2], [trials[number - 2].candidate, trials[number - 1].candidate])
        fresh = make().propose(*arguments, np.random.default_rng(number))
        assert used.propose(*arguments, np.random.default_rng(number)) == fresh


@pytest.mark.parametrize("make", [ParetoSampler, RandomSampler])
def test_ours_never_propose_a_model_twice_or_above_the_limit(make):
    problem = problem_with(limit=3000.0)
    trials = search(make(), problem, n_trials=60)
    assert len({canonical(trial.candidate).key for trial in trials}) == 60
    assert all(problem.allows(trial.candidate) for trial in trials)


def test_pareto_spreads_its_first_design_over_cost():
    def reach(sampler):
        costs = [cost(trial.candidate) for trial in search(sampler, problem_with(), n_trials=8)]
        return max(costs) / min(costs)

    assert reach(ParetoSampler()) > 1.5 * reach(RandomSampler())


@pytest.mark.parametrize("exact_cost", [cost, lambda _: None], ids=["exact", "learned"])
def test_pareto_beats_random(exact_cost):
    def volume(sampler, seed):
        trials = search(sampler, problem_with(exact_cost=exact_cost), seed=seed)
        return Front.of(point for trial in trials for point in trial.points).hypervolume(cost=1e5)

    gains = [volume(ParetoSampler(), seed) - volume(RandomSampler(), seed) for seed in range(3)]
    assert np.mean(gains) > 0


@pytest.mark.parametrize("exact_cost", [cost, lambda _: None], ids=["exact", "learned"])
def test_pareto_leaves_what_lies_below_the_floor_alone(exact_cost):
    def small(floor, seed):
        trials = search(ParetoSampler(), problem_with(floor=floor, exact_cost=exact_cost), seed=seed)
        return sum(cost(trial.candidate) < 2000 / 2 for trial in trials[10:])

    assert sum(small(2000.0, seed) for seed in range(3)) < sum(small(0.0, seed) for seed in range(3)) / 2


def test_pareto_leaves_what_fails():
    problem, sampler, trials = problem_with(), ParetoSampler(), []
    for number in range(50):
        candidate = sampler.propose(problem, trials, [], np.random.default_rng(number))
        state = State.FAILED if candidate["kind"] == "conv" else State.COMPLETE
        trials.append(trial_of(number, candidate, state=state))
    late = [trial.state for trial in trials[25:]]
    assert late.count(State.FAILED) < len(late) / 3


def test_pareto_takes_every_point_of_a_trial_and_an_error_of_zero():
    problem, trials = problem_with(), []
    rng = np.random.default_rng(0)
    for number in range(15):
        parts = [SPACE.sample(rng) for _ in range(3)]
        points = tuple(
            Point(part, {"error": 0.0 if number == 7 else error(part), "bytes": cost(part)}) for part in parts
        )
        trials.append(Trial(number, parts[0], State.COMPLETE, points))
    SPACE.check(ParetoSampler().propose(problem, trials, [], rng))


def test_optuna_learns_from_results_told_under_canonical_candidates():
    problem = problem_with()
    sampler = OptunaSampler("tpe", 0)
    trials = []
    for number in range(12):
        candidate = canonical(sampler.propose(problem, trials, [], np.random.default_rng(number)))
        trials.append(trial_of(number, candidate))
    sampler.propose(problem, trials, [], np.random.default_rng(12))
    states = [trial.state.name for trial in sampler._study.trials]
    assert states == ["COMPLETE"] * 12 + ["RUNNING"]


def test_optuna_is_told_twins_failures_and_what_somebody_else_proposed():
    problem, rng = problem_with(), np.random.default_rng(0)
    one, two, three, four = (canonical(SPACE.sample(rng)) for _ in range(4))
    trials = [
        trial_of(0, one),
        Trial(1, one, State.CACHED, twin=0),
        Trial(2, two, State.FAILED, error="out of memory"),
        Trial(3, three, State.OVERSIZED),
    ]
    sampler = OptunaSampler("tpe", 0)
    sampler.propose(problem, trials, [four], rng)
    told = sampler._study.trials
    assert [trial.state.name for trial in told] == ["COMPLETE", "COMPLETE", "FAIL", "FAIL", "RUNNING", "RUNNING"]
    assert told[0].values == told[1].values == [error(one), pytest.approx(np.log(cost(one)))]
    assert told[4].params == four.genes
    sampler.propose(problem, [*trials, trial_of(4, four), trial_of(5, two)], [], rng)  # 5 was asked for another one
    assert [trial.state.name for trial in sampler._study.trials[4:]] == ["COMPLETE", "FAIL", "COMPLETE", "RUNNING"]


def test_optuna_stays_quiet_and_leaves_its_log_as_it_was(capfd):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.INFO)
    filters = list(warnings.filters)
    search(OptunaSampler("qmc", 0), problem_with(), n_trials=3)
    assert optuna.logging.get_verbosity() == logging.INFO
    assert warnings.filters == filters
    assert capfd.readouterr().err == ""


def test_unknown_names_and_impossible_choices_say_what_to_do(monkeypatch):
    with pytest.raises(SettingsError, match=r"No sampler 'paretto'; did you mean 'pareto'\? Samplers: brute_force, gp"):
        sampler_named("paretto", seed=0)
    with pytest.raises(SettingsError, match=r"No sampler 'nsga4' in Optuna; did you mean 'nsga\d'\? Samplers: "):
        OptunaSampler("nsga4", 0)
    with pytest.raises(SettingsError, match="minimises one objective, and a front has two"):
        sampler_named("cmaes", seed=0)
    with pytest.raises(SpaceError, match="needs a space without Float ranges"):
        OptunaSampler("brute_force", 0).propose(problem_with(), [], [], np.random.default_rng(0))
    monkeypatch.setitem(adapter.OPTUNA_SAMPLERS, "gp", ("GPSampler", ("no_such_package",)))
    with pytest.raises(MissingExtraError, match="'gp' needs no_such_package: pip install no_such_package"):
        sampler_named("gp", seed=0)


def test_optuna_is_imported_only_when_used():
    code = "import sys, engine.samplers, engine.samplers.registry, engine.storage; sys.exit('optuna' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_candidate_is_what_the_space_says():
    assert isinstance(RandomSampler().propose(problem_with(), [], [], np.random.default_rng(0)), Candidate)
