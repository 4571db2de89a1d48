"""Uniform proposals: the yardstick for every other sampler."""

from __future__ import annotations

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
        self._problem: Problem | None = None
        self._keys: dict[str, str] = {}

    def propose(
        self, problem: Problem, trials: Sequence[Trial], pending: Sequence[Candidate], rng: np.random.Generator
    ) -> Candidate:
        """Return a random candidate within the limit that builds a new model, or the last one drawn."""
        if problem is not self._problem:
            self._problem, self._keys = problem, {}
        known = {self._key(trial.candidate) for trial in trials} | {self._key(candidate) for candidate in pending}
        fallback = None
        for _ in range(ATTEMPTS):
            candidate = problem.space.sample(rng)
            if not problem.allows(candidate):
                continue
            if problem.canonical(candidate).key not in known:
                return candidate
            fallback = candidate
        return fallback if fallback is not None else problem.space.sample(rng)

    def _key(self, candidate: Candidate) -> str:
        # A memo of a pure function, over the history alone: it changes no proposal.
        if candidate.key not in self._keys:
            assert self._problem is not None
            self._keys[candidate.key] = self._problem.canonical(candidate).key
        return self._keys[candidate.key]
