"""Whether a limit can be met at all, told before the first trial."""

from __future__ import annotations

import numpy as np

from engine.errors import SettingsError
from engine.objective import Problem
from engine.space import Candidate, Choice, Float, Int

__all__ = ["check_limits"]

STARTS = 64
DESCENTS = 4


def check_limits(problem: Problem, *, seed: int) -> None:
    """Raise if no candidate of the space keeps the limits.

    Raises:
        SettingsError: It says the smallest value there is.
    """
    measures = [(problem.cost, problem.exact_cost), *problem.limits]
    for objective, exact in measures:
        if objective.limit is None:
            continue
        rng = np.random.default_rng(seed)
        starts = [problem.space.sample(rng) for _ in range(STARTS)]
        values = {candidate: exact(candidate) for candidate in starts}
        if any(value is None for value in values.values()):
            continue  # only training tells
        if any(objective.allows(value) for value in values.values() if value is not None):
            continue
        ranked = sorted(values, key=lambda candidate: values[candidate] or 0.0)[:DESCENTS]
        least = min(_descended(problem, exact, candidate, rng) for candidate in ranked)
        if not objective.allows(least):
            raise SettingsError(
                f"max_{objective.name}={objective.limit:.0f} cannot be met: the smallest candidate of this space has "
                f"{least:.0f}{' ' + objective.unit if objective.unit else ''}. Set at least that, or widen the space."
            )


def _descended(problem: Problem, exact, candidate: Candidate, rng: np.random.Generator) -> float:  # type: ignore[no-untyped-def]
    """Walk downhill gene by gene until no single change makes the value smaller."""
    best = float(exact(candidate))
    improved = True
    while improved:
        improved = False
        for name, domain in problem.space.domains.items():
            if name not in candidate.genes:
                continue
            if isinstance(domain, Choice):
                options = list(domain.options)
            elif isinstance(domain, Int | Float):
                options = [domain.low, domain.high]
            for option in options:
                changed = problem.space.complete(candidate.replace(**{name: option}), rng)
                value = float(exact(changed))
                if value < best:
                    candidate, best, improved = changed, value, True
    return best
