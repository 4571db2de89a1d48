"""The one seam between the engine and whoever makes models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from engine.artifact import Artifact
from engine.data import Dataset
from engine.space import Candidate, Space
from engine.trial import Point, Trial

__all__ = ["Blending", "Family", "Means", "Report"]

Means = Literal["nothing", "tried", "finished"]


class Report(Protocol):
    """How a trial tells the study where it stands."""

    def __call__(self, step: float, error: float) -> bool:
        """Report the validation error after a share `step` in (0, 1] of the trial; False means: stop now."""
        ...


class Family(Protocol):
    """Makes files from candidates.

    Made for one frozen `Signature`; picklable, so that workers receive it once; holds no rows. Every method is a
    function of its arguments: the same arguments give the same bytes on one machine, in any process and any order.
    """

    @property
    def space(self) -> Space:
        """Where candidates come from."""
        ...

    @property
    def portfolio(self) -> Sequence[Candidate]:
        """Candidates that are known to do well on most data, of many sizes; empty where none are known."""
        ...

    def canonical(self, candidate: Candidate) -> Candidate:
        """Return the representative of all candidates that build the same model; idempotent."""
        ...

    def bytes(self, candidate: Candidate) -> int | None:
        """Return the length of the file, exact, from genes and signature alone; None where trained values decide."""
        ...

    def macs(self, candidate: Candidate) -> int | None:
        """Return the multiply-accumulates of one row, exact; None where the family does not count them."""
        ...

    def features(self, candidate: Candidate) -> Sequence[float]:
        """Return what else is known of a canonical candidate before it is trained, for samplers to learn errors from.

        Always equally many numbers of the order of 1, such as the logarithm of the multiply-accumulates; none where the
        family knows nothing.
        """
        ...

    def describe(self, point: Point, trials: Sequence[Trial]) -> Mapping[str, Any]:
        """Return what a card says of a winner beyond its measurements.

        Args:
            point: The winner, as the search scored it.
            trials: All trials, for what was tried beside it.

        Returns:
            JSON: `description` (a line in words), `steps` (each compression step, or why it kept 100 %), and `graph`
            (`nodes`, and `edges` as [from, to, label]) where there is something to draw.
        """
        ...

    def prepare(self, data: Dataset, *, seed: int) -> Dataset:
        """Do once, before trial 0, what all trials share; return the data they shall see."""
        ...

    def build(
        self, candidate: Candidate, data: Dataset, *, fold: int, fidelity: float, seed: int, report: Report
    ) -> Iterator[tuple[Candidate, Artifact]]:
        """Train on the training rows of a fold, compress, export.

        Args:
            candidate: In canonical form.
            data: Training and validation rows; test rows are not in it.
            fold: Which pair of `data.splits`.
            fidelity: Share in (0, 1] of the full effort.
            seed: Of everything random in this trial.
            report: Called from time to time; when it returns False the trial ends, with what it has.

        Yields:
            Each finished file, with the candidate that would build it alone.
        """
        ...

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
        """Train a winner long.

        Args:
            candidate: In canonical form.
            data: As for `build`.
            teachers: Finished files whose outputs, in the mean, the winner may learn from.
            effort: How many times longer than in a trial.
            max_bytes: The result must not be longer. None: it is not shipped but teaches, so that a family may build
                what is larger than the candidate, and knows more.
            seed: Of everything random.
            refit: Whether to use the validation rows for training too.
            own: The trial's file, of the last pair of `data.splits`, for families that would only train it again.
        """
        ...


@runtime_checkable
class Blending(Protocol):
    """A family that may also answer with the weighted mean of what files of its candidates answer."""

    @property
    def means_of(self) -> Means:
        """Of what means are made.

        `tried`: answers of trials are kept, and the members of the best means are finished, too; for families whose
        finished files answer much as the trials' own do. `finished`: of the finished files, where these did not learn
        from validation rows. `nothing`: none are made.
        """
        ...

    def macs(self, candidate: Candidate) -> int | None:
        """Return what `Family.macs` does, of a mean that of all its members."""
        ...

    def pieces(self, file: Artifact) -> Mapping[str, int]:
        """Return what a file is made of: bytes by content. What several members have alike is in their mean once."""
        ...

    def opinions(self, data: Dataset, points: Sequence[Point], *, trains: bool) -> np.ndarray | None:
        """Return what models that did not see them say of all validation rows, fold after fold; None without any.

        Args:
            data: Training and validation rows.
            points: Of the files that are to be told apart; none of them learned from such models: none are asked.
            trains: Whether there is time to train such models; otherwise only what is known already is told.

        Returns:
            Probabilities, float32, shape (n_validation_rows, n_classes).
        """
        ...

    def join(self, blend: Candidate, data: Dataset, *, files: Sequence[Artifact], answers: np.ndarray) -> Artifact:
        """Return the one file of a mean, with what `finish` would tell in its card.

        Args:
            blend: As `engine.shares.blend_of` makes it: no candidate of the space, but `describe` and `macs` take it.
            data: Training and validation rows.
            files: Of the members, in the order of their shares.
            answers: Of the mean to the last validation rows, by files that did not learn from them.

        Raises:
            ArtifactError: If the file does not answer as the members do.
        """
        ...
