"""Families whose candidates come from elsewhere: from a list, or from a space with fewer options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from engine.artifact import Artifact
from engine.data import Dataset
from engine.family import Blending, Family, Means, Report
from engine.shares import is_blend
from engine.space import Candidate, Choice, Domain, Space
from engine.trial import Point, Trial

__all__ = ["Variant", "listed", "with_options"]

PLACE = "place"


@final
@dataclass(frozen=True)
class Variant:
    """A family that makes the same files from candidates of another space.

    Args:
        family: That makes them.
        space: Where candidates come from; of a list, the places in it.
        portfolio: Candidates that a search begins with.
        candidates: The list, if there is one.
    """

    family: Family
    space: Space
    portfolio: Sequence[Candidate] = ()
    candidates: tuple[Candidate, ...] = ()

    def canonical(self, candidate: Candidate) -> Candidate:
        """Return the representative of all candidates that build the same model; of a place, of what stands there."""
        place = candidate.genes.get(PLACE)
        return self.family.canonical(candidate if place is None else self.candidates[int(place)])

    def bytes(self, candidate: Candidate) -> int | None:
        """Return what the family does."""
        return self.family.bytes(self.canonical(candidate))

    def macs(self, candidate: Candidate) -> int | None:
        """Return what the family does."""
        return self.family.macs(candidate if is_blend(candidate) else self.canonical(candidate))

    @property
    def means_of(self) -> Means:
        """What the family says."""
        return self.family.means_of if isinstance(self.family, Blending) else "nothing"

    def pieces(self, file: Artifact) -> Mapping[str, int]:
        """Return what the family does."""
        assert isinstance(self.family, Blending)  # otherwise no means are made
        return self.family.pieces(file)

    def opinions(self, data: Dataset, points: Sequence[Point], *, trains: bool) -> np.ndarray | None:
        """Return what the family does."""
        assert isinstance(self.family, Blending)  # otherwise no means are made
        return self.family.opinions(data, points, trains=trains)

    def join(self, blend: Candidate, data: Dataset, *, files: Sequence[Artifact], answers: np.ndarray) -> Artifact:
        """Join as the family does."""
        assert isinstance(self.family, Blending)  # otherwise no means are made
        return self.family.join(blend, data, files=files, answers=answers)

    def features(self, candidate: Candidate) -> Sequence[float]:
        """Return what the family does."""
        return self.family.features(self.canonical(candidate))

    def describe(self, point: Point, trials: Sequence[Trial]) -> Mapping[str, Any]:
        """Return what the family does."""
        return self.family.describe(point, trials)

    def prepare(self, data: Dataset, *, seed: int) -> Dataset:
        """Do what the family does."""
        return self.family.prepare(data, seed=seed)

    def build(
        self, candidate: Candidate, data: Dataset, *, fold: int, fidelity: float, seed: int, report: Report
    ) -> Iterator[tuple[Candidate, Artifact]]:
        """Build as the family does."""
        return self.family.build(candidate, data, fold=fold, fidelity=fidelity, seed=seed, report=report)

    def finish(
        self,
        candidate: Candidate,
        data: Dataset,
        *,
        teachers: Sequence[Artifact],
        effort: float,
        max_bytes: int | None,
        seed: int,
        refit: bool,
        own: Artifact | None = None,
    ) -> Artifact:
        """Finish as the family does."""
        return self.family.finish(
            candidate, data, teachers=teachers, effort=effort, max_bytes=max_bytes, seed=seed, refit=refit, own=own
        )


def listed(family: Family, candidates: Sequence[Candidate]) -> Variant:
    """Return a family of nothing but these candidates: `sampler=random` with a budget of as many tries each once."""
    distinct = tuple(dict.fromkeys(family.canonical(candidate) for candidate in candidates))
    return Variant(family, Space({PLACE: Choice(tuple(range(len(distinct))))}), (), distinct)


def with_options(space: Space, options: Mapping[str, Any]) -> Space:
    """Return a space in which some genes have a single option.

    Example:
        >>> print(with_options(Space({"bits": Choice((4, 8)), "width": Choice((1, 2))}), {"bits": 8}).domains["bits"])
        Choice(options=(8,), ordered=False)
    """
    domains: dict[str, Domain] = {
        name: Choice((options[name],)) if name in options else domain for name, domain in space.domains.items()
    }
    return Space(domains, space.conditions)
