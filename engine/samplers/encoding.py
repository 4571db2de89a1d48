"""Candidates as numbers for a surrogate: genes, counts of options, what the family knows, cost."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import final

import numpy as np

from engine.objective import Problem
from engine.space import Candidate, Choice, Domain, Value

__all__ = ["Encoding"]

REACH = 2.0
HALF = math.sqrt(0.5)  # of a gene that chooses: two of them that differ lie one apart


@final
class Encoding:
    """Turns canonical candidates into vectors, in groups that share one length scale.

    The genes are one group, and two candidates that differ in all of them lie REACH apart. Genes that choose from the
    same options (the operations of several edges) give a second one: how many of them chose each option, which is the
    same in whatever order the genes come. What the family tells of a candidate comes last, a group for each number.

    Args:
        problem: Its space, and its features if it has any.
    """

    def __init__(self, problem: Problem) -> None:
        self._features = problem.features
        self._slots: list[tuple[str, int, dict[Value, int] | None, Callable[[Value], float]]] = []
        alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
        width = 0
        for name, domain in problem.space.domains.items():
            places: dict[Value, int] | None = None
            if isinstance(domain, Choice) and not domain.ordered:
                places = {option: width + place for place, option in enumerate(domain.options)}
                alike[tuple(map(repr, places))].append(name)
            self._slots.append((name, width, places, _share_of(domain)))
            width += 1 if places is None else len(places)
        self._n_genes = width
        self._counted: list[tuple[str, dict[Value, int], float]] = []  # gene, place of each option, what it adds there
        for names in alike.values():
            if len(names) > 1:
                domain = problem.space.domains[names[0]]
                assert isinstance(domain, Choice)
                at = {option: width + place for place, option in enumerate(domain.options)}
                self._counted += [(name, at, 1 / len(names)) for name in names]
                width += len(at)
        self._n_counts = width - self._n_genes
        self._unit = REACH / math.sqrt(len(self._slots))

    def __call__(self, candidate: Candidate) -> np.ndarray:
        """Return the vector of a candidate in canonical form."""
        vector = [0.0] * (self._n_genes + self._n_counts)
        genes, unit = candidate.genes, self._unit
        for name, start, places, share in self._slots:
            if places is None:
                vector[start] = unit * (share(genes[name]) if name in genes else 0.5)
            elif name in genes:
                vector[places[genes[name]]] = unit * HALF
        for name, at, step in self._counted:
            if name in genes:
                vector[at[genes[name]]] += step
        return np.array(vector if self._features is None else [*vector, *self._features(candidate)])

    def groups(self, width: int) -> np.ndarray:
        """Return the group of each of `width` numbers: those of `__call__`, then one for each that is appended."""
        n_counted = self._n_genes + self._n_counts
        first = 1 + (self._n_counts > 0)
        alone = range(first, first + width - n_counted)
        return np.array([*[0] * self._n_genes, *[1] * self._n_counts, *alone])


def _share_of(domain: Domain) -> Callable[[Value], float]:
    """Return what places a value in [0, 1] of its range."""
    if isinstance(domain, Choice):
        last = max(1, len(domain.options) - 1)
        return {option: place / last for place, option in enumerate(domain.options)}.__getitem__
    low, high = float(domain.low), float(domain.high)
    if domain.log:
        low, high = math.log(low), math.log(high)
        return lambda value: (math.log(float(value)) - low) / (high - low) if high > low else 0.5
    return lambda value: (float(value) - low) / (high - low) if high > low else 0.5
