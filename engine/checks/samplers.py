"""The laws of samplers."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

from engine.objective import Objective, Problem
from engine.samplers import Sampler
from engine.space import Candidate, Choice, Condition, Int, Space
from engine.trial import Point, State, Trial

__all__ = ["sampler_checks"]

MakeSampler = Callable[[], Sampler]
N_TRIALS = 14  # some samplers begin to learn at their eleventh

SPACE = Space(
    {
        "kind": Choice(("wide", "deep")),
        "width": Int(2, 64, log=True),
        "layers": Int(1, 6),
        "bits": Choice((2, 4, 8), ordered=True),
        "skip": Choice((True, False)),
    },
    {"layers": Condition("kind", ("deep",)), "skip": Condition("kind", ("deep",))},
)


def sampler_checks() -> Iterator[tuple[str, Callable[[MakeSampler], None]]]:
    """Yield the name and the function of each check; a function takes what makes a fresh sampler."""
    yield "proposes_inside_the_space", check_proposes_inside_the_space
    yield "repeats_itself", check_repeats_itself
    yield "repeats_itself_in_another_process", check_repeats_itself_in_another_process
    yield "takes_up_a_longer_budget", check_takes_up_a_longer_budget
    yield "survives_failures_alone", check_survives_failures_alone
    yield "survives_a_space_used_up", check_survives_a_space_used_up
    yield "survives_a_limit_that_none_keeps", check_survives_a_limit_that_none_keeps


def check_proposes_inside_the_space(make: MakeSampler) -> None:
    """Every proposal has exactly the active genes, each in its range, whether costs are exact or learned."""
    for exact in (True, False):
        problem = _problem(exact=exact)
        for candidate in _proposals(make(), problem):
            problem.space.check(candidate)


def check_repeats_itself(make: MakeSampler) -> None:
    """Two samplers that are told the same propose the same."""
    first, second = _keys(make), _keys(make)
    assert first == second, f"Two samplers made alike propose {first} and {second}."


def check_repeats_itself_in_another_process(make: MakeSampler) -> None:
    """Another process, whose strings hash differently, sees the same proposals. `make` must be picklable."""
    before = os.environ.get("PYTHONHASHSEED")
    os.environ["PYTHONHASHSEED"] = "4242" if before != "4242" else "2424"
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            there = pool.submit(_keys, make).result()
    finally:
        if before is None:
            del os.environ["PYTHONHASHSEED"]
        else:
            os.environ["PYTHONHASHSEED"] = before
    here = _keys(make)
    assert here == there, f"Another process proposes {there} instead of {here}."


def check_takes_up_a_longer_budget(make: MakeSampler) -> None:
    """The budget changes no proposal: a run that is resumed with more of it replays its record."""
    short = [candidate.key for candidate in _proposals(make(), _problem(budget=N_TRIALS))]
    long = [candidate.key for candidate in _proposals(make(), _problem(budget=100 * N_TRIALS))]
    assert short == long, f"A larger budget changes proposals from {short} to {long}."


def check_survives_failures_alone(make: MakeSampler) -> None:
    """A history of nothing but failures still leads to proposals inside the space."""
    problem = _problem()
    for candidate in _proposals(make(), problem, state=lambda _: State.FAILED):
        problem.space.check(candidate)


def check_survives_a_space_used_up(make: MakeSampler) -> None:
    """When every candidate has been tried, proposals repeat instead of failing."""
    problem = _problem(space=Space({"kind": Choice(("wide",)), "width": Int(2, 3), "bits": Choice((2, 4))}))
    for candidate in _proposals(make(), problem):
        problem.space.check(candidate)


def check_survives_a_limit_that_none_keeps(make: MakeSampler) -> None:
    """A limit below every cost leads to proposals that the study refuses, not to an endless loop."""
    problem = _problem(limit=1.0)
    for candidate in _proposals(make(), problem):
        problem.space.check(candidate)


def _keys(make: MakeSampler) -> list[str]:
    return [candidate.key for candidate in _proposals(make(), _problem())]


def _problem(
    *, space: Space = SPACE, limit: float | None = None, exact: bool = True, budget: int = N_TRIALS
) -> Problem:
    return Problem(
        space, Objective("error"), Objective("bytes", limit=limit), _canonical, _cost if exact else _unknown, budget
    )


def _proposals(
    sampler: Sampler, problem: Problem, *, state: Callable[[Candidate], State] | None = None, lag: int = 3
) -> list[Candidate]:
    """Search as the study does: canonical candidates in the history, the last lag - 1 of them pending."""
    proposed: list[Candidate] = []
    trials: list[Trial] = []
    for number in range(N_TRIALS):
        n_known = max(0, number - lag + 1)
        history, pending = tuple(trials[:n_known]), tuple(trial.candidate for trial in trials[n_known:])
        candidate = sampler.propose(problem, history, pending, np.random.default_rng([7, number]))
        proposed.append(candidate)
        trials.append(_ended(number, _canonical(candidate), problem, trials, state or _state))
    return proposed


def _ended(
    number: int, candidate: Candidate, problem: Problem, trials: Sequence[Trial], state: Callable[[Candidate], State]
) -> Trial:
    twin = next((trial for trial in trials if trial.candidate == candidate), None)
    if twin is not None:
        return Trial(number, candidate, State.CACHED, twin.points, error=twin.error, twin=twin.number)
    if not problem.allows(candidate):
        return Trial(number, candidate, State.OVERSIZED)
    if state(candidate) is State.FAILED:
        return Trial(number, candidate, State.FAILED, error="out of memory")
    error = 1.0 / math.sqrt(_cost(candidate))
    return Trial(number, candidate, State.COMPLETE, (Point(candidate, {"error": error, "bytes": _cost(candidate)}),))


def _state(candidate: Candidate) -> State:
    return State.FAILED if int(candidate.key, 16) % 5 == 0 else State.COMPLETE


def _canonical(candidate: Candidate) -> Candidate:
    return candidate.replace(skip=False) if candidate.genes.get("layers") == 1 else candidate


def _cost(candidate: Candidate) -> float:
    genes = candidate.genes
    return 100.0 + int(genes["width"]) ** 2 * int(genes.get("layers", 1)) * int(genes["bits"]) / 8


def _unknown(_: Candidate) -> float | None:
    return None
