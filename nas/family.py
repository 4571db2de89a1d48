"""The family of searched networks: from genes to trained, compressed, verified files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, final

import torch

from compression.export import export
from compression.layers import empty_weights, lower
from compression.memory import macs
from compression.network import Network
from compression.plan import Convolution, Plan, Pooling
from compression.train import Examples, Recipe, train
from engine.artifact import Artifact
from engine.data import Dataset, Signature
from engine.family import Report
from engine.metrics import metric_named
from engine.space import Candidate, Space
from engine.trial import Point, Trial
from nas.describe import told
from nas.finish import finish
from nas.measure import measured
from nas.space import Genome, NetworkSpace, SpaceSettings, space_named

__all__ = ["Networks", "macs_for", "recipe_for"]

LONG_EPOCHS = 20  # from here on images are moved; a short training only gets worse by it
MACS_A_ROOT = 200_000
DEPTH_UNIT = 5.0  # layers that count as much as a factor of ten in size
PIXELS_A_SHIFT = 14  # images move by up to one pixel for each 14 of their side: 8 x 8 not at all, 28 x 28 by two


@final
@dataclass(frozen=True)
class Networks:
    """Networks of one space, for one signature.

    Args:
        settings: Of the space, which is found by their name.
        signature: Of the data.
        recipe: Of the training of one trial.
        effort: How many times longer a winner trains.
        metric: Of the validation error that a finished winner tells.

    Raises:
        DataError: If the data do not fit the space.
    """

    settings: SpaceSettings
    signature: Signature
    recipe: Recipe
    effort: float = 3.0
    metric: str = "accuracy"

    def __post_init__(self) -> None:
        self.kind.check(self.signature)

    @property
    def kind(self) -> NetworkSpace:
        """What the space says of its networks."""
        return space_named(self.settings.name)

    @cached_property
    def space(self) -> Space:
        """Where candidates come from."""
        return self.kind.space(self.settings)

    @cached_property
    def portfolio(self) -> Sequence[Candidate]:
        """Plain networks of many widths."""
        return self.kind.portfolio(self.settings, self.signature)

    def canonical(self, candidate: Candidate) -> Candidate:
        """Return the representative of all candidates that build the same network."""
        return self._canonical(candidate).candidate()

    def genome(self, candidate: Candidate) -> Genome:
        """Return the genome of a candidate."""
        found: Genome = self.kind.genome(candidate, self.settings)
        return found

    def bytes(self, candidate: Candidate) -> int:
        """Return the length of the file: the writer itself, run on zeros."""
        return _length(self.kind, self._canonical(candidate), self.signature)

    def macs(self, candidate: Candidate) -> int:
        """Return the multiply-accumulates of one row through the file."""
        return macs(_small_plan(self.kind, self.genome(candidate), self.signature))

    def features(self, candidate: Candidate) -> Sequence[float]:
        """Return logarithms of multiply-accumulates and parameters, and the shares of kinds of layers in the file.

        Candidates of one size differ most in how often a weight is used, how many there are, and in depth.
        """
        plan = _small_plan(self.kind, self.genome(candidate), self.signature)
        depthwise = sum(isinstance(step, Convolution) and step.is_depthwise for step in plan.steps)
        pooled = sum(isinstance(step, Pooling) for step in plan.steps)
        return (
            math.log10(max(1, macs(plan))) - 5.0,
            math.log10(plan.parameters) - 3.0,
            (len(plan.weighted) - depthwise) / DEPTH_UNIT,
            depthwise / DEPTH_UNIT,
            pooled / DEPTH_UNIT,
        )

    def prepare(self, data: Dataset, *, seed: int) -> Dataset:  # noqa: ARG002
        """Trials of this family share nothing but the data."""
        return data

    def build(
        self, candidate: Candidate, data: Dataset, *, fold: int, fidelity: float, seed: int, report: Report
    ) -> Iterator[tuple[Candidate, Artifact]]:
        """Train, remove channels, quantize, train on, export through the parity gate."""
        genome = self.genome(candidate)
        rows, valid = data.train(fold), data.valid(fold)
        torch.manual_seed(seed)
        network = train(
            Network(measured(self.kind.plan(genome, self.signature), rows)),
            Examples.of(rows, self.signature),
            self.recipe.scaled(fidelity),
            counts=self.kind.kept(genome),
            seed=seed,
            report=report,
            valid=Examples.of(valid, self.signature),
        )
        yield candidate, export(network, valid.inputs()["x"], seed=seed)

    def finish(
        self,
        candidate: Candidate,
        data: Dataset,
        *,
        teacher: Artifact | None,
        max_bytes: int | None,
        seed: int,
        refit: bool,
    ) -> Artifact:
        """Train a winner long, with a teacher's probabilities where there is one."""
        genome = self.genome(candidate)
        artifact = finish(
            self.kind,
            genome,
            self.signature,
            data,
            self.recipe.scaled(self.effort),
            teacher=teacher,
            seed=seed,
            refit=refit,
            metric=self.metric,
        )
        if max_bytes is not None and artifact.size > max_bytes:
            raise AssertionError(f"a finished file has {artifact.size} bytes, its trial had {max_bytes}")
        return artifact

    def describe(self, point: Point, trials: Sequence[Trial]) -> Mapping[str, Any]:
        """Return what a card says of a winner beyond its measurements."""
        is_share = metric_named(self.metric, self.signature.task).is_share
        return told(self.kind.describe(self.genome(point.candidate)), point, trials, is_share=is_share)

    def _canonical(self, candidate: Candidate) -> Genome:
        found: Genome = self.kind.canonical(self.genome(candidate), self.settings)
        return found


def recipe_for(signature: Signature, rows: int, given: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a trial: what the user gave, and what suits the data for the rest.

    Args:
        signature: Of the data.
        rows: Training rows.
        given: Fields of `Recipe`; None for what the data shall decide.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    recipe = Recipe(**chosen)
    epochs = max(recipe.epochs, recipe.steps * recipe.batch_rows / rows)
    if "shift" in chosen or epochs < LONG_EPOCHS or signature.kind != "images":
        return recipe
    return replace(recipe, shift=min(signature.shape[1:]) // PIXELS_A_SHIFT)


def macs_for(signature: Signature) -> int:
    """Return how many multiply-accumulates a row may take where the user sets no limit: what trains in a short time."""
    return round(MACS_A_ROOT * math.sqrt(math.prod(signature.shape[1:])))


@lru_cache(maxsize=10_000)
def _small_plan(kind: NetworkSpace, genome: Genome, signature: Signature) -> Plan:
    """Return the plan of the file: after channels are removed."""
    return kind.plan(genome, signature).with_channels(kind.kept(genome))


@lru_cache(maxsize=100_000)
def _length(kind: NetworkSpace, genome: Genome, signature: Signature) -> int:
    plan = _small_plan(kind, genome, signature)
    return len(lower(plan, empty_weights(plan)).model)
