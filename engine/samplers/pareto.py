"""The default: neighbours of the front, chosen by the hypervolume that they are expected to add."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from engine.objective import Problem
from engine.samplers.belief import Belief
from engine.samplers.choosing import Choosing
from engine.samplers.history import History
from engine.samplers.pool import neighbours, pool, spread
from engine.samplers.random import RandomSampler
from engine.samplers.surrogate import one_thread
from engine.space import Candidate
from engine.trial import Trial

__all__ = ["ParetoSampler"]

# Trials spread over cost before the search begins to learn, more where the family knows more good candidates: all of
# these are tried. No share of the budget: a larger budget must resume a run.
FIRST_DESIGN = 10
LEAST_POINTS = 4  # files that must be there as well
POOL = 96  # candidates that are compared before one is proposed
SPREAD_POOL = 64  # draws of which the first design takes the one with the loneliest cost
LEADERS = 8  # of them, whose neighbours are compared too
NEIGHBOURS = 32
# Pending candidates that a proposal keeps clear of by belief. With more, each is chosen from fewer, so that one driver
# keeps a thousand workers busy: what the next result will say matters more then than the best of many guesses.
CROWD = 64
LEAST = 2
MANY = 2048  # trials, after which half as many candidates are compared: the front grows as fast, in half the time


@final
class ParetoSampler:
    """Spreads a first design over cost, then proposes the candidate near the front with the largest expected gain.

    The gain is the closed-form expected hypervolume improvement over the staircase of the front in (log error, log
    cost), with the exact cost where the problem knows it and a predicted one elsewhere; errors come from a Gaussian
    process over genes, counts of options, what the family tells of a candidate, and cost. A proposal is a pure function
    of the arguments; what the sampler keeps are memos of pure functions.
    """

    def __init__(self) -> None:
        self._history: History | None = None
        self._random = RandomSampler()

    def propose(
        self, problem: Problem, trials: Sequence[Trial], pending: Sequence[Candidate], rng: np.random.Generator
    ) -> Candidate:
        """Return a candidate that builds a new model within the limit, as long as one can be found."""
        if self._history is None or self._history.problem is not problem:
            self._history = History(problem)
        history = self._history
        rows = history.tell(trials)
        waiting = [history.model(candidate) for candidate in pending[-CROWD:]]
        known = history.known.union(pending)
        first = max(FIRST_DESIGN, len(problem.portfolio))
        if history.n_paid + len(pending) < first or rows.are_points.sum() < LEAST_POINTS:
            taken = np.array([*history.log_costs(), *(model.log_cost for model in waiting)])
            lonely = spread(history, taken, known, rng, _share_of(SPREAD_POOL, trials, pending))
            return lonely or self._random.propose(problem, trials, pending, rng)
        with one_thread():
            choosing = Choosing(Belief.of(history, rows, waiting))
            draws = pool(history, rows, known, rng, _share_of(POOL, trials, pending), choosing.fits)
            if draws:
                leaders = [draw.candidate for draw in choosing.likely(draws, LEADERS)]
                known = known | {draw.model.canonical for draw in draws}
                draws += neighbours(history, leaders, known, rng, _share_of(NEIGHBOURS, trials, pending), choosing.fits)
                chosen = choosing.best(draws)
                if chosen is not None:
                    return chosen.candidate
        return self._random.propose(problem, trials, pending, rng)


def _share_of(size: int, trials: Sequence[Trial], pending: Sequence[Candidate]) -> int:
    """Return how many candidates are compared for one proposal."""
    size = size if len(trials) <= MANY else size // 2
    return size if len(pending) <= CROWD else max(LEAST, size * CROWD // len(pending))
