"""Uniform proposals: the yardstick for every other sampler."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import final

import numpy as np

from engine.objective import Problem
from engine.space import Candidate
from engine.trial import Trial

__all__ = ["RandomSampler"]

ATTEMPTS = 200  # draws before a space counts as used up; then the study decides what a repetition means


@final
class RandomSampler:
    """Draws uniformly, gene by gene, and never proposes a model twice while there is another one to be found."""

    def __init__(self) -> None:
        self._told: list[Trial] = []
        self._known: set[str] = set()  # of what was told

    def propose(
        self, problem: Problem, trials: Sequence[Trial], pending: Sequence[Candidate], rng: np.random.Generator
    ) -> Candidate:
        """Return a random candidate within the limit that builds a new model, or the last one drawn."""
        known = self._keys_of(trials)
        waiting = {candidate.key for candidate in pending}
        fallback = None
        for _ in range(ATTEMPTS):
            candidate = problem.space.sample(rng)
            if not problem.allows(candidate):
                continue
            key = problem.canonical(candidate).key
            if key not in known and key not in waiting:
                return candidate
            fallback = candidate
        return fallback if fallback is not None else problem.space.sample(rng)

    def _keys_of(self, trials: Sequence[Trial]) -> set[str]:
        """Return the keys of all trials, of which only those that were not told before cost anything."""
        if not self._told or len(trials) < len(self._told) or not all(map(operator.is_, self._told, trials)):
            self._told, self._known = [], set()
        new = trials[len(self._told) :]
        self._known.update(trial.candidate.key for trial in new)
        self._told.extend(new)
        return self._known
