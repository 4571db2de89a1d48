"""Samplers propose candidates; they know nothing of families and backends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from engine.objective import Problem
from engine.space import Candidate
from engine.trial import Trial

__all__ = ["Sampler"]


class Sampler(Protocol):
    """Proposes the next candidate.

    The study calls `propose` exactly once for each number 0, 1, 2, ..., in order, also while it replays a record. What
    it is told depends on the number alone, not on speed or backend; so an answer that is a function of its arguments
    (or of the sequence of its arguments) makes the whole search repeatable.
    """

    def propose(
        self, problem: Problem, trials: Sequence[Trial], pending: Sequence[Candidate], rng: np.random.Generator
    ) -> Candidate:
        """Return a candidate of `problem.space`.

        Args:
            problem: Space, objectives, canonical form, exact cost.
            trials: All trials from number 0 to n - lag, ended, in order of number, their candidates in canonical form.
            pending: Candidates proposed after those, in order and canonical form, whose results must not be used.
            rng: Made anew for each number from the study's seed.
        """
        ...
