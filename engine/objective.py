"""What is measured and wanted: objectives, and the problem as a sampler sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from engine.space import Candidate, Space

__all__ = ["Objective", "Problem"]


@final
@dataclass(frozen=True)
class Objective:
    """One measured value, always minimised.

    Args:
        name: `error`, `bytes`, `latency_us`, `macs`, ...
        unit: Of the values, for tables and messages.
        limit: Largest value allowed; candidates above it never reach the front.
        floor: Smallest value that still counts: what lies below is worth no more.
    """

    name: str
    unit: str = ""
    limit: float | None = None
    floor: float = 0.0

    def allows(self, value: float) -> bool:
        """Say whether a value keeps the limit."""
        return self.limit is None or value <= self.limit


@final
@dataclass(frozen=True)
class Problem:
    """What a sampler may know: the space, the two axes, and what is known without training.

    Args:
        space: Where candidates come from.
        error: The first axis.
        cost: The second axis.
        canonical: Representative of all candidates that build the same model.
        exact_cost: Cost from genes alone, exact, or None where only a trial can tell.
        budget: Number of trials that the study will pay for.
        limits: Further objectives, each with its exact value from genes alone (None where it is unknown).
        features: What else the family knows of a canonical candidate before it is trained, for a sampler to learn
            errors from: always equally many numbers, of the order of 1, such as the depth of a network. None: nothing.
        portfolio: Candidates that the family knows to do well on most data, of many costs; a sampler may begin there.
    """

    space: Space
    error: Objective
    cost: Objective
    canonical: Callable[[Candidate], Candidate]
    exact_cost: Callable[[Candidate], float | None]
    budget: int
    limits: tuple[tuple[Objective, Callable[[Candidate], float | None]], ...] = ()
    features: Callable[[Candidate], Sequence[float]] | None = None
    portfolio: tuple[Candidate, ...] = ()

    def allows(self, candidate: Candidate) -> bool:
        """Say whether a candidate may be trained."""
        return not self.refusal(candidate)

    def refusal(self, candidate: Candidate) -> str:
        """Return which limit a candidate breaks, by what is known without training; nothing if it keeps them all."""
        for objective, exact in ((self.cost, self.exact_cost), *self.limits):
            value = None if objective.limit is None else exact(candidate)
            if value is not None and not objective.allows(value):
                return f"{objective.name} {value:.0f}, at most {objective.limit:.0f} allowed"
        return ""
